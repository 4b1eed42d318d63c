package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// written is what an author would write in a while.
func written(cfg Config, while time.Duration) (all []Planned) {
	a := newAuthor(cfg)
	for at, burst := a.after(0); at < while; at, burst = a.after(at) {
		all = append(all, burst...)
	}
	return all
}

func TestARateIsKeptAndRepeats(t *testing.T) {
	cfg := Config{Run: "r", Seed: 4, Channels: three, Customers: 50, Rate: 20, Hard: 0.01}
	all := written(cfg, 10*time.Minute)
	require.InDelta(t, 12_000, len(all), 600)
	require.Equal(t, all, written(cfg, 10*time.Minute))
	cfg.Seed = 5
	require.NotEqual(t, all, written(cfg, 10*time.Minute))
	ids, customers := map[string]bool{}, map[int]bool{}
	for _, p := range all {
		ids[p.ID], customers[p.Customer] = true, true
	}
	require.Len(t, ids, len(all))
	require.Len(t, customers, 50)
}

func TestFewWriteMostWhereItIsSkewed(t *testing.T) {
	top := func(skew float64) (most int) {
		by := map[int]int{}
		for _, p := range written(Config{Run: "r", Channels: three, Customers: 100, Rate: 10, Skew: skew, Links: 5}, 10*time.Minute) {
			by[p.Customer]++
			most = max(most, by[p.Customer])
		}
		return most
	}
	require.Less(t, top(0), 150)
	require.Greater(t, top(1.3), 1000)
}

func TestThoseWhoLinkBeginApart(t *testing.T) {
	first := map[int]time.Duration{}
	for _, p := range written(Config{Run: "r", Channels: three, Customers: 30, Rate: 10, Links: 6, Hard: 0.9}, 5*time.Minute) {
		if p.Customer >= 6 {
			require.False(t, p.Link)
			continue
		}
		require.Equal(t, p.Channel != support.WhatsApp, p.Link)
		if _, wrote := first[p.Customer]; !wrote {
			require.True(t, p.Link, "customer %d begins where it is offered a link", p.Customer)
			first[p.Customer] = p.After
		}
		if p.Link {
			require.NotContains(t, hard, p.Text, "an escalation offers nothing")
		}
	}
	require.Len(t, first, 6)
	for i := range 5 {
		require.InDelta(t, 20, (first[i+1] - first[i]).Seconds(), 5)
	}
}

func TestACanaryStandsInOneMessage(t *testing.T) {
	seen := map[string]bool{}
	all := written(Config{Run: "r", Channels: three, Customers: 30, Rate: 20, Canaries: 0.5}, 5*time.Minute)
	for _, p := range all {
		if p.Canary == "" {
			continue
		}
		require.False(t, seen[p.Canary])
		seen[p.Canary] = true
		require.Equal(t, 1, strings.Count(p.Text, p.Canary))
		require.Regexp(t, `^[a-z]+-[a-z]{8}$`, p.Canary)
	}
	require.InDelta(t, len(all)/2, len(seen), 200)

	for want, m := range map[support.Level]Message{
		support.ChannelVerified: {Channel: support.WhatsApp}, support.ChannelAsserted: {Channel: support.Email, Auth: "none"}, support.Claimed: {Channel: support.WebForm},
	} {
		require.Equal(t, want, m.level())
	}
	require.Equal(t, support.ChannelVerified, Message{Channel: support.Email}.level())
	require.Equal(t, support.Claimed, Message{Channel: support.Email, Auth: "fail"}.level())
}

func TestADay(t *testing.T) {
	for seed := range uint64(20) {
		cfg := DayPlan(seed, 20*time.Minute)
		cfg.Sim, cfg.Run, cfg.APIs, cfg.SiteKey, cfg.Mailbox = "x", "r", []string{"y"}, "dev", "support@fte.test"
		w, err := New(cfg)
		require.NoError(t, err)
		by, began, hours := map[support.Channel]int{}, map[int]bool{}, map[int]int{}
		for _, p := range w.Plan() {
			by[p.Channel]++
			hours[int(p.After*24/(20*time.Minute))]++
			if p.Link && p.After < 10*time.Minute {
				began[p.Customer] = true
			}
		}
		require.GreaterOrEqual(t, by[support.WebForm], 100)
		require.GreaterOrEqual(t, by[support.Email], 50)
		require.GreaterOrEqual(t, by[support.WhatsApp], 50)
		require.GreaterOrEqual(t, len(began), 10, "they begin in the first half")
		require.GreaterOrEqual(t, len(hours), 22, "it is spread over the day: %v", hours)
	}
}
