package harness

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"

	"fte/chaos/fault"
	"fte/persistence/persistencetest"
)

// dials is a member's way out.
func dials(t *testing.T, d *Dev, member string) func(to string) (net.Conn, error) {
	socks, err := proxy.SOCKS5("tcp", d.Proxy.Addr(), &proxy.Auth{User: member, Password: "x"}, proxy.Direct)
	require.NoError(t, err)
	return func(to string) (net.Conn, error) {
		c, err := socks.Dial("tcp", to)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
}

func TestCutsNameTheirDestinations(t *testing.T) {
	d := start(t, "good", Config{Proxy: true})
	to, err := d.addresses("", ToPostgres)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:5999"}, to)
	to, err = d.addresses("worker-1", ToPeers)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:6001"}, to)
	_, err = d.addresses("", "worker-7")
	require.ErrorContains(t, err, "worker-7")

	sim, dial := d.First().Sim[len("http://"):], dials(t, d, "worker-1")
	heal, err := d.Cut(Cut{From: "worker-1", To: ToVendors}, Cut{To: ToPostgres})
	require.NoError(t, err)
	_, err = dial(sim)
	require.ErrorContains(t, err, "refused")
	heal()
	_, err = dial(sim)
	require.NoError(t, err)
	f := d.Faults()[0]
	require.True(t, f.Fired)
	require.Equal(t, "cut", f.Kind)
	require.Equal(t, "worker-1>vendors, all>postgres", f.Target)
	require.Equal(t, "1 connections refused", f.Evidence)

	heal, err = d.Cut(Cut{To: ToKafka, Blackhole: true})
	require.NoError(t, err)
	heal()
	heal()
	require.Len(t, d.Faults(), 2, "a fault is noted once")
	require.Equal(t, "blackhole", d.Faults()[1].Kind)
	require.False(t, d.Faults()[1].Fired, "nobody was connected")
}

func TestTwoDisturbancesAtOnceAreHealedEachForItself(t *testing.T) {
	d := start(t, "good", Config{Proxy: true})
	sim, one, two := d.First().Sim[len("http://"):], dials(t, d, "worker-1"), dials(t, d, "worker-2")
	first, err := d.As("N7", 1).Disturb("cut", fault.Rule{From: "worker-1", To: []string{ToVendors}})
	require.NoError(t, err)
	second, err := d.As("N11", 2).Disturb(Flap, fault.Rule{To: []string{ToVendors}})
	require.NoError(t, err)
	_, err = two(sim)
	require.Error(t, err)

	second.Pause()
	_, err = two(sim)
	require.NoError(t, err)
	_, err = one(sim)
	require.Error(t, err, "the first is on")
	second.Resume()
	_, err = two(sim)
	require.Error(t, err)

	first.Heal()
	_, err = one(sim)
	require.Error(t, err, "the second is on")
	second.Heal()
	second.Resume()
	_, err = one(sim)
	require.NoError(t, err)
	_, err = two(sim)
	require.NoError(t, err)

	faults := d.Faults()
	require.Len(t, faults, 2)
	require.Equal(t, "N7", faults[0].Nemesis)
	require.Equal(t, "1 connections refused", faults[0].Evidence)
	require.Equal(t, Flap, faults[1].Kind)
	require.Equal(t, 2, faults[1].Strike)
	require.Equal(t, "1 connections reset, 3 connections refused", faults[1].Evidence)
}

// A worker that was started beside the supervisor's is known to the database alone.
func TestPeersAreAlsoThoseWhoJoinedLater(t *testing.T) {
	url := persistencetest.URL(t)
	d := &Dev{system: &system{cfg: Config{Dir: t.TempDir()}, first: Ready{DatabaseURL: url}}}
	raw, err := json.Marshal(Ready{DatabaseURL: url, Members: []Member{{Name: "worker-1", Address: "127.0.0.1:6000"}, {Name: "worker-2", Address: "127.0.0.1:6001"}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.cfg.Dir, "dev.json"), raw, 0o600))
	conn, err := d.Connect(t.Context())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `INSERT INTO members (id, cluster, name, generation, host, port, state, lease_ends) VALUES
		('a', 'c', 'worker-1', 1, '127.0.0.1', 6000, 'active', now()), ('b', 'c', 'worker-4', 1, '127.0.0.1', 7000, 'active', now()),
		('c', 'c', 'worker-5', 1, '127.0.0.1', 7001, 'dead', now())`)
	require.NoError(t, err)
	to, err := d.addresses("worker-2", ToPeers)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:6000", "127.0.0.1:7000"}, to)
	to, err = d.addresses("", "worker-4")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:7000"}, to)
}
