//go:build chaosbug_nodedupe

package support

const planted = BugNoDedupe
