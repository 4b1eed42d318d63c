//go:build chaosbug_keeppending

package support

const planted = BugKeepPending
