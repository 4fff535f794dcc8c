package allocator

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"go.universe.tf/metallb/internal/config"
	"go.universe.tf/metallb/internal/ipfamily"
)

// TestPeer allocates COUNT addresses out of CIDR one by one, and then asks once more, in vain if the
// pool is full by then. It prints the seconds of the first and the microseconds of the second.
func TestPeer(t *testing.T) {
	_, cidr, err := net.ParseCIDR(os.Getenv("CIDR"))
	if err != nil {
		t.Fatal(err)
	}
	count, err := strconv.Atoi(os.Getenv("COUNT"))
	if err != nil {
		t.Fatal(err)
	}
	allocator := New(func(string) {})
	allocator.SetPools(&config.Pools{ByName: map[string]*config.Pool{
		"pool": {Name: "pool", AutoAssign: true, CIDR: []*net.IPNet{cidr}},
	}})
	ports := []Port{{Proto: "TCP", Port: 80}}
	allocate := func(n int) error {
		_, err := allocator.Allocate(fmt.Sprintf("default/s%d", n), &v1.Service{}, ipfamily.IPv4, ports, "", "")
		return err
	}
	start := time.Now()
	for n := range count {
		if err := allocate(n); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	start = time.Now()
	_ = allocate(count)
	fmt.Printf("peer %f %f\n", took.Seconds(), float64(time.Since(start).Nanoseconds())/1000)
}
