//go:build chaosbug_noversion

package support

const planted = BugNoVersion
