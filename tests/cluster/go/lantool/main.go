// Command lantool does what a test needs on the LAN and Node does less well: it
// relays a loopback port into a network namespace, it probes an address every
// few milliseconds and reports each outage, it asks for addresses by ARP and
// Neighbor Discovery just as often, and it lets the main thread of a process
// stand still.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const usage = "usage: lantool relay LISTEN_ADDRESS NETNS_PATH TARGET_ADDRESS\n" +
	"       lantool probe ADDRESS PORT INTERVAL_MS TIMEOUT_MS\n" +
	"       lantool ask INTERFACE INTERVAL_MS ADDRESS...\n" +
	"       lantool stall PID STILL_MS PAUSE_MS"

// dialIn connects from inside another network namespace. The thread that
// entered it is never unlocked, so it ends with the goroutine.
func dialIn(namespace, target string) (net.Conn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		file, err := os.Open(namespace)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		connection, err := net.DialTimeout("tcp", target, 5*time.Second)
		done <- result{connection, err}
	}()
	r := <-done
	return r.connection, r.err
}

func relay(listen, namespace, target string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		inbound, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer inbound.Close()
			outbound, err := dialIn(namespace, target)
			if err != nil {
				return
			}
			defer outbound.Close()
			var both sync.WaitGroup
			both.Add(2)
			go func() {
				defer both.Done()
				io.Copy(outbound, inbound)
				outbound.(*net.TCPConn).CloseWrite()
			}()
			go func() {
				defer both.Done()
				io.Copy(inbound, outbound)
				inbound.(*net.TCPConn).CloseWrite()
			}()
			both.Wait()
		}()
	}
}

// outcome is one line of the prober's output: a run of failed attempts that
// ended (kind "outage", lengths in ms, times in ms since the epoch), or the
// totals at the end (kind "total").
type outcome struct {
	Kind     string  `json:"kind"`
	FromMs   float64 `json:"fromMs,omitempty"`
	OutageMs float64 `json:"outageMs"`
	Attempts int     `json:"attempts"`
	Failed   int     `json:"failed"`
	Error    string  `json:"error,omitempty"`
}

type attempt struct {
	started  time.Time
	finished time.Time
	err      error
}

func request(address string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	connection, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(deadline)
	if _, err := connection.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	_, err = connection.Read(make([]byte, 64))
	return err
}

// probe opens a connection every interval, each with its own patience, whether
// or not earlier ones have ended. An outage runs from the start of the first
// attempt that failed to the end of the first later-started one that succeeded.
func probe(address string, interval, timeout time.Duration) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	results := make(chan chan attempt, 4096)
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				close(results)
				return
			case <-ticker.C:
				result := make(chan attempt, 1)
				results <- result
				go func() {
					started := time.Now()
					err := request(address, timeout)
					result <- attempt{started, time.Now(), err}
				}()
			}
		}
	}()
	encoder := json.NewEncoder(os.Stdout)
	total := outcome{Kind: "total"}
	var outage *outcome
	var since time.Time
	for result := range results {
		a := <-result
		total.Attempts++
		switch {
		case a.err != nil:
			total.Failed++
			if outage == nil {
				since = a.started
				outage = &outcome{Kind: "outage", FromMs: float64(a.started.UnixMicro()) / 1000, Error: a.err.Error()}
				encoder.Encode(outcome{Kind: "down", FromMs: outage.FromMs, Error: outage.Error})
			}
			outage.Attempts++
			outage.Failed++
		case outage != nil:
			outage.OutageMs = float64(a.finished.Sub(since).Microseconds()) / 1000
			encoder.Encode(outage)
			outage = nil
		case total.Attempts == 1:
			encoder.Encode(outcome{Kind: "up"})
		}
	}
	if outage != nil {
		outage.Kind = "unended"
		outage.OutageMs = float64(time.Since(since).Microseconds()) / 1000
		encoder.Encode(outage)
	}
	encoder.Encode(total)
}

func milliseconds(text string) time.Duration {
	number, err := strconv.Atoi(text)
	if err != nil || number <= 0 {
		fmt.Fprintf(os.Stderr, "%q is no positive number of milliseconds\n", text)
		os.Exit(2)
	}
	return time.Duration(number) * time.Millisecond
}

func main() {
	switch {
	case len(os.Args) == 5 && os.Args[1] == "relay":
		if err := relay(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) == 6 && os.Args[1] == "probe":
		probe(net.JoinHostPort(os.Args[2], os.Args[3]), milliseconds(os.Args[4]), milliseconds(os.Args[5]))
	case len(os.Args) >= 5 && os.Args[1] == "ask":
		if err := ask(os.Args[2], milliseconds(os.Args[3]), os.Args[4:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) == 5 && os.Args[1] == "stall":
		pid, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = stall(pid, milliseconds(os.Args[3]), milliseconds(os.Args[4]))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}
