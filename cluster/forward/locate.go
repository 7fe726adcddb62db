package forward

import (
	"context"
	"errors"
)

// Locate returns the URL of the process with a name, which is what session ids carry
// before their code, as the registry has it now. It fails with cluster.ErrNodeUnknown
// for one that is not there.
func (f *Forwarder) Locate(ctx context.Context, owner string) (url string, err error) {
	if f.registry == nil {
		return "", errors.New("socketio: the forwarder is not open")
	}
	n, err := f.registry.Lookup(ctx, owner)
	return n.URL, err
}
