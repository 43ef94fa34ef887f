//! Comparing passwords so that the time it takes tells nothing.

/// Whether what was given is the password. The time depends on what was given, not on how much of it is right.
pub(crate) fn is(password: &str, given: &[u8]) -> bool {
    let password = password.as_bytes();
    let mut difference = password.len() ^ given.len();
    for (index, byte) in given.iter().enumerate() {
        // Past the password's end something must be compared too; the lengths differ already.
        difference |= usize::from(byte ^ password.get(index).or(password.first()).copied().unwrap_or_default());
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_is_the_password() {
        assert!(is("secret", b"secret"));
        for wrong in ["", "s", "secre", "secrets", "Secret", "secretsecret", "\0"] {
            assert!(!is("secret", wrong.as_bytes()), "{wrong}");
        }
        assert!(!is("aaa", b"aaaa"));
    }
}
