//go:build chaosbug_markearly

package support

const planted = BugMarkEarly
