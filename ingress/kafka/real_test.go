package kafka

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The whole suite runs against Apache Kafka too, so that the broker of the other
// runs is not our own fiction:
//
//	FTE_TEST_KAFKA=real go test -count=1 -timeout 30m ./ingress/kafka
//
// It needs Java 17 and Maven, which brings the broker once (44 MB) into the
// user's cache folder.
var real = os.Getenv("FTE_TEST_KAFKA") == "real"

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>fte</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>`

// libs is where the broker's jars are, fetched once.
var libs = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "fte", "kafka-4.3.0")
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return filepath.Join(dir, "libs"), nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", err
	}
	mvn := exec.Command("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs")
	mvn.Dir = dir
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch Kafka: %w: %s", err, out)
	}
	return filepath.Join(dir, "libs"), os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
})

// startReal starts the process's folder on its port, both made at first.
func (p *process) startReal() {
	jars, err := libs()
	require.NoError(p.t, err)
	config := filepath.Join(p.dir, "server.properties")
	if p.addr == "" {
		p.addr, p.controller = freeAddr(p.t), freeAddr(p.t)
		text := strings.NewReplacer("ADDR", p.addr, "CTRL", p.controller, "DIR", filepath.Join(p.dir, "data")).Replace(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@CTRL
listeners=PLAINTEXT://ADDR,CONTROLLER://CTRL
advertised.listeners=PLAINTEXT://ADDR
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=DIR
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
`)
		require.NoError(p.t, os.WriteFile(config, []byte(text), 0o600))
		id := uuid.New()
		// Joined by "=", for an id may begin with "-".
		out, err := p.java(jars, "kafka.tools.StorageTool", "format", "--cluster-id="+base64.RawURLEncoding.EncodeToString(id[:]), "-c", config).CombinedOutput()
		require.NoError(p.t, err, string(out))
	}
	p.cmd = p.java(jars, "kafka.Kafka", config)
	require.NoError(p.t, p.cmd.Start())
	s := Servers{Brokers: []string{p.addr}}
	require.Eventually(p.t, func() bool {
		c, err := sarama.NewClient(s.Brokers, s.config())
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Controller()
		return err == nil
	}, 2*time.Minute, 100*time.Millisecond, "Kafka starts")
}

func (p *process) java(jars string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "java", append([]string{"-Xmx512m", "-cp", jars + "/*"}, args...)...)
	cmd.Dir = p.dir
	return cmd
}

func freeAddr(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}
