package persistence

import (
	"context"
	"fmt"

	"fte/support"
)

// Known says whether an address routes to a customer. It makes none.
func (d *Directory) Known(ctx context.Context, a support.Address) (bool, error) {
	links, err := d.lookUp(ctx, []support.Address{a})
	if err != nil {
		return false, fmt.Errorf("see whether an address is known: %w", unavailable(err))
	}
	return len(links) > 0 && links[0].known(), nil
}
