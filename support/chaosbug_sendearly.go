//go:build chaosbug_sendearly

package support

const planted = BugSendEarly
