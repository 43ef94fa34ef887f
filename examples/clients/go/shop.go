// An order's life in an event store, with go-redis: a version that is checked, a group of consumers, a pipeline, and a read model.
//
// go run shop.go [PORT]
//
// This is the go-redis that Debian packages (golang-gopkg-redis.v5-dev). It is older than streams, whose commands are called by their names.
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	redis "gopkg.in/redis.v5"
)

// A stream's name of our own, so that the program can be run again.
var shop = fmt.Sprintf("Order%d", time.Now().UnixNano())

func main() {
	log.SetFlags(log.Lshortfile)
	port := "7379"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
	defer client.Close()
	check(client.Ping().Err())

	stream := shop + "-1"
	check(appendEvent(client, stream, 0, "OrderPlaced", `{"total":42}`))
	check(appendEvent(client, stream, 1, "OrderPaid", `{"status":"paid"}`))
	// Someone else also looked at version 1.
	expect(appendEvent(client, stream, 1, "OrderCancelled", `{}`) == redis.TxFailedErr, "a late append is refused")
	expect(integer(client, "XLEN", stream) == 2, "and has changed nothing")

	project(client, stream)
	total, err := client.HGet(shop+":totals", stream).Int64()
	check(err)
	expect(total == 2, "the read model has both events")

	// A thousand requests go at once, and are answered in their order.
	counts, err := client.Pipelined(func(pipeline *redis.Pipeline) error {
		for range [1000]struct{}{} {
			pipeline.Incr(shop + ":count")
		}
		return nil
	})
	check(err)
	expect(counts[999].(*redis.IntCmd).Val() == 1000, "all of them are counted")
	fmt.Println("ok")
}

// appendEvent appends an event, if the stream is at the version expected: the version is watched, and both change together or not at all.
func appendEvent(client *redis.Client, stream string, expected int64, kind, data string) error {
	version := "version:" + stream
	return client.Watch(func(tx *redis.Tx) error {
		actual, err := tx.Get(version).Int64()
		if err != nil && err != redis.Nil {
			return err
		}
		if actual != expected {
			return redis.TxFailedErr
		}
		_, err = tx.Pipelined(func(pipeline *redis.Pipeline) error {
			pipeline.Process(redis.NewStringCmd("XADD", stream, "*", "event_type", kind, "data", data))
			pipeline.Incr(version)
			return nil
		})
		return err
	}, version)
}

// project counts a stream's events in a hash, as one of a group: each event is acknowledged with what it has changed.
func project(client *redis.Client, stream string) {
	check(client.Process(redis.NewStatusCmd("XGROUP", "CREATE", stream, "totals", "0")))
	for {
		read := redis.NewSliceCmd("XREADGROUP", "GROUP", "totals", "me", "COUNT", "10", "STREAMS", stream, ">")
		if err := client.Process(read); err == redis.Nil {
			break
		} else {
			check(err)
		}
		entries := read.Val()[0].([]interface{})[1].([]interface{})
		for _, entry := range entries {
			id := entry.([]interface{})[0].(string)
			_, err := client.TxPipelined(func(pipeline *redis.Pipeline) error {
				pipeline.HIncrBy(shop+":totals", stream, 1)
				return pipeline.Process(redis.NewIntCmd("XACK", stream, "totals", id))
			})
			check(err)
		}
	}
	pending := redis.NewSliceCmd("XPENDING", stream, "totals")
	check(client.Process(pending))
	expect(pending.Val()[0].(int64) == 0, "nothing is left to be done")
}

func integer(client *redis.Client, words ...interface{}) int64 {
	command := redis.NewIntCmd(words...)
	check(client.Process(command))
	return command.Val()
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func expect(isSo bool, what string) {
	if !isSo {
		log.Output(2, "it is not so: "+what)
		os.Exit(1)
	}
}
