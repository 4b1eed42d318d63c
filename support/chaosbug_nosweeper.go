//go:build chaosbug_nosweeper

package support

const planted = BugNoSweeper
