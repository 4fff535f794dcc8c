package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// questioner makes frames that ask who has an address: ARP Requests (RFC 826)
// and Neighbor Solicitations (RFC 4861 §4.3), both to everybody, as a host that
// knows nothing yet sends them.
type questioner struct {
	hardware net.HardwareAddr
	ipv4     netip.Addr
	ipv6     netip.Addr
}

func newQuestioner(device *net.Interface) (*questioner, error) {
	q := &questioner{hardware: device.HardwareAddr}
	addresses, err := device.Addrs()
	if err != nil {
		return nil, err
	}
	for _, each := range addresses {
		prefix, err := netip.ParsePrefix(each.String())
		if err != nil {
			return nil, err
		}
		switch address := prefix.Addr(); {
		case address.Is4():
			q.ipv4 = address
		case !address.IsLinkLocalUnicast():
			q.ipv6 = address
		}
	}
	return q, nil
}

func (q *questioner) frame(target netip.Addr) ([]byte, error) {
	if target.Is4() {
		if !q.ipv4.IsValid() {
			return nil, fmt.Errorf("asking for %s: this host has no IPv4 address", target)
		}
		return q.arpRequest(target), nil
	}
	if !q.ipv6.IsValid() {
		return nil, fmt.Errorf("asking for %s: this host has no IPv6 address", target)
	}
	return q.neighborSolicitation(target), nil
}

func (q *questioner) arpRequest(target netip.Addr) []byte {
	frame := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frame = append(frame, q.hardware...)
	frame = append(frame, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	frame = append(frame, q.hardware...)
	frame = append(frame, q.ipv4.AsSlice()...)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	return append(frame, target.AsSlice()...)
}

func (q *questioner) neighborSolicitation(target netip.Addr) []byte {
	wanted := target.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], wanted[13:])
	source := q.ipv6.As16()

	message := []byte{135, 0, 0, 0, 0, 0, 0, 0}
	message = append(message, wanted[:]...)
	message = append(message, 1, 1) // source link-layer address, one unit of eight octets
	message = append(message, q.hardware...)
	binary.BigEndian.PutUint16(message[2:], checksum(source, group, message))

	frame := []byte{0x33, 0x33, group[12], group[13], group[14], group[15]}
	frame = append(frame, q.hardware...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), 58, 255)
	frame = append(frame, source[:]...)
	frame = append(frame, group[:]...)
	return append(frame, message...)
}

// checksum is that of ICMPv6 with its pseudo-header (RFC 4443 §2.3).
func checksum(source, destination [16]byte, message []byte) uint16 {
	octets := append(append([]byte{}, source[:]...), destination[:]...)
	octets = append(octets, 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	octets = append(octets, message...)
	var sum uint32
	for i := 0; i+1 < len(octets); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(octets[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ask asks for every address once an interval, evenly spread over it, until it
// is told to end. It does not listen: who answers is seen in a capture.
func ask(name string, interval time.Duration, texts []string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	q, err := newQuestioner(device)
	if err != nil {
		return err
	}
	frames := make([][]byte, len(texts))
	for i, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		if frames[i], err = q.frame(address); err != nil {
			return err
		}
	}
	// protocol 0: it receives nothing
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{Ifindex: device.Index}
	fmt.Println("asking")
	step := interval / time.Duration(len(frames))
	next := time.Now()
	for i := 0; ; i = (i + 1) % len(frames) {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Until(next)):
		}
		if err := unix.Sendto(socket, frames[i], 0, to); err != nil && err != unix.ENOBUFS {
			return err
		}
		next = next.Add(step)
		// what a busy machine delayed is not made up for in a burst
		if late := time.Since(next); late > interval {
			next = time.Now()
		}
	}
}
