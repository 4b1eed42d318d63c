package cluster

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestTheLibraryIsQuiet(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	log := libraryLog(zap.New(core))
	log.Debug("a message", "body", struct{ Text string }{"secret"})
	log.Info("EndpointWriter connected")
	require.Zero(t, logs.Len())
	log.Error("EndpointWriter lost connection", "address", "127.0.0.1:1", "error", errors.New("EOF"), "message", struct{ Text string }{"secret"})
	require.Equal(t, 1, logs.Len())
	line := logs.All()[0]
	require.Equal(t, zap.WarnLevel, line.Level)
	require.Contains(t, line.ContextMap(), "address")
	require.NotContains(t, line.ContextMap(), "message")

	core, logs = observer.New(zap.DebugLevel)
	log = libraryLog(zap.New(core))
	log.Info("EndpointWriter connected")
	require.Equal(t, zap.DebugLevel, logs.All()[0].Level)
	log.Debug("a message", "body", "secret")
	require.Equal(t, 1, logs.Len(), "its own Debug never passes")
}
