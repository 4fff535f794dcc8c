package main

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stall lets the main thread of a process, and no other of its threads, stand
// still for a while again and again, until it is told to end: what a program
// does whose main loop is busy. The kernel lets the thread go when this ends.
func stall(pid int, still, pause time.Duration) error {
	// only the thread that attached may detach
	runtime.LockOSThread()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for {
		if err := unix.PtraceAttach(pid); err != nil {
			return err
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return err
		}
		ended := waitOr(stop, still)
		if err := unix.PtraceDetach(pid); err != nil {
			return err
		}
		if ended || waitOr(stop, pause) {
			return nil
		}
	}
}

func waitOr(stop <-chan os.Signal, duration time.Duration) bool {
	select {
	case <-stop:
		return true
	case <-time.After(duration):
		return false
	}
}
