//go:build !failpoint

package support

import "errors"

// Failpoint marks a place where a build with -tags failpoint can be made to die.
// This build has nothing there.
func Failpoint(string) {}

// FailpointOf marks where a build with -tags failpoint panics on a message that is
// Poison. This build takes it as any other.
func FailpointOf(string) {}

// CheckFailpoints judges the settings FTE_FAILPOINTS and FTE_FAILPOINT_DIR. This
// build takes none.
func CheckFailpoints(spec, _ string) error {
	if spec != "" {
		return errors.New("this program was built without -tags failpoint")
	}
	return nil
}
