//! DEBUG PROTOCOL: a reply of each type that the protocol has, for those who try how a client reads it.

use crate::redis::resp::Reply;

const NO_SUCH_TYPE: Reply = Reply::error(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);

pub(super) fn of_type(name: &[u8]) -> Reply {
    let numbers = || (0..3).map(Reply::Integer).collect();
    match name.to_ascii_lowercase().as_slice() {
        b"string" => Reply::text("Hello World"),
        b"integer" => Reply::Integer(12_345),
        b"double" => Reply::Written("$5\r\n3.141\r\n", ",3.141\r\n"),
        b"bignum" => Reply::Written("$37\r\n1234567999999999999999999999999999999\r\n", "(1234567999999999999999999999999999999\r\n"),
        b"null" => Reply::Null,
        b"array" => Reply::Array(numbers()),
        b"set" => Reply::Set(numbers()),
        b"map" => Reply::Map((0..3).map(|number| (Reply::Integer(number), truth(number == 1))).collect()),
        b"attrib" => Reply::Written(
            "$39\r\nSome real reply following the attribute\r\n",
            "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\nSome real reply following the attribute\r\n",
        ),
        b"push" => Reply::Written(
            "-ERR RESP2 is not supported by this command\r\n",
            ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
        ),
        b"verbatim" => Reply::Verbatim("This is a verbatim\nstring".to_owned()),
        b"true" => truth(true),
        b"false" => truth(false),
        _ => NO_SUCH_TYPE,
    }
}

fn truth(is_true: bool) -> Reply {
    if is_true { Reply::Written(":1\r\n", "#t\r\n") } else { Reply::Written(":0\r\n", "#f\r\n") }
}
