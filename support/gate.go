package support

import "context"

type gateKey struct{}

// WithGate returns a context under which MayWrite asks gate. A dispatcher puts
// its last check in front of a send there: its own lease lives and less than
// half of the claim is used.
func WithGate(ctx context.Context, gate func() error) context.Context {
	return context.WithValue(ctx, gateKey{}, gate)
}

// MayWrite is what a Sender asks just before the bytes of a request leave. When
// it returns an error nothing may be written, and the send certainly did not
// happen.
func MayWrite(ctx context.Context) error {
	if gate, ok := ctx.Value(gateKey{}).(func() error); ok {
		return gate()
	}
	return nil
}
