//go:build chaosbug_expiredpending

package support

const planted = BugExpiredPending
