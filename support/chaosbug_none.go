//go:build !chaosbug_noversion && !chaosbug_markearly && !chaosbug_sendearly && !chaosbug_attemptkey && !chaosbug_retryunknown && !chaosbug_nodedupe && !chaosbug_keeppending && !chaosbug_expiredpending && !chaosbug_lateversion && !chaosbug_nosweeper

package support

const planted = NoBug
