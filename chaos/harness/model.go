package harness

import (
	"context"
	"fmt"
	"net/http"
)

// ModelRequestsAfter decodes the model server's log after its request n into out.
func (d *Dev) ModelRequestsAfter(ctx context.Context, n int, out any) error {
	return d.control(ctx, http.MethodGet, fmt.Sprint("/_ctl/model/requests?after=", n), nil, out)
}

// ForgetModelRequests has the model server forget its requests up to n.
func (d *Dev) ForgetModelRequests(ctx context.Context, n int) error {
	return d.control(ctx, http.MethodDelete, fmt.Sprint("/_ctl/model/requests?through=", n), nil, nil)
}
