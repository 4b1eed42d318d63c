//go:build chaosbug_retryunknown

package support

const planted = BugRetryUnknown
