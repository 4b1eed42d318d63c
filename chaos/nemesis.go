package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"fte/chaos/harness"
	"fte/chaos/workload"
)

// Nemesis is one kind of fault, under its number in the project's list of faults.
type Nemesis struct {
	ID   string // e.g. N1
	Name string // e.g. kill
	What string // a line for people
	// Takes is how long a strike takes at least, when that is longer than a
	// schedule's slot.
	Takes time.Duration
	// Alone says that no other fault may be on meanwhile.
	Alone bool
	// Needs is what it cannot strike without: build tags, e.g. failpoint, and Own.
	Needs []string
	// Strike hurts the system, notes what it did with its evidence, and heals it
	// before it returns, also when ctx has ended.
	Strike func(ctx context.Context, s *Scene) error
}

// Own is what a nemesis needs that hurts only a system which the tester started: by
// its proxy, its clocks or its supervisor.
const Own = "a system of the tester's own"

// Scene is what a strike works with.
type Scene struct {
	*harness.Dev                    // what is hurt; what it notes carries the nemesis and the strike
	Dice         *rand.Rand         // of this strike alone
	For          time.Duration      // how long a fault that lasts should last
	Load         *workload.Workload // whose customers write meanwhile
}

// Nemeses are all faults, in the order of their numbers.
func Nemeses() []Nemesis {
	all := slices.Concat(processNemeses, networkNemeses, storeNemeses, timeNemeses, vendorNemeses, poisonNemeses)
	number := func(n Nemesis) (i int) { _, _ = fmt.Sscanf(n.ID, "N%d", &i); return i }
	slices.SortStableFunc(all, func(a, b Nemesis) int { return number(a) - number(b) })
	return all
}
