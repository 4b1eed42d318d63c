//go:build chaosbug_lateversion

package support

const planted = BugLateVersion
