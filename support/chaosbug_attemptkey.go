//go:build chaosbug_attemptkey

package support

const planted = BugAttemptKey
