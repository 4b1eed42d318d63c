package fault

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
)

// Replies of SOCKS5, RFC 1928 section 6.
const (
	granted     = 0
	unreachable = 4
	refused     = 5
)

// greet reads the handshake of RFC 1928 and 1929: who dials, and where to.
func greet(w io.Writer, in *bufio.Reader) (from, to string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil || head[0] != 5 {
		return "", "", errors.Join(errors.New("not SOCKS5"), err)
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return "", "", err
	}
	method := byte(0)
	if slices.Contains(methods, 2) {
		method = 2
	}
	if _, err := w.Write([]byte{5, method}); err != nil {
		return "", "", err
	}
	if method == 2 {
		if from, err = credentials(w, in); err != nil {
			return "", "", err
		}
	}
	to, err = destination(in)
	return from, to, err
}

// credentials reads the user's name; whatever the password, it is welcome.
func credentials(w io.Writer, in *bufio.Reader) (string, error) {
	if _, err := in.ReadByte(); err != nil {
		return "", err
	}
	user, err := counted(in)
	if err != nil {
		return "", err
	}
	if _, err := counted(in); err != nil {
		return "", err
	}
	_, err = w.Write([]byte{1, 0})
	return string(user), err
}

// destination reads a CONNECT request.
func destination(in *bufio.Reader) (string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil || head[1] != 1 {
		return "", errors.Join(errors.New("not CONNECT"), err)
	}
	var host string
	switch head[3] {
	case 1, 4:
		ip := make([]byte, map[byte]int{1: 4, 4: 16}[head[3]])
		if _, err := io.ReadFull(in, ip); err != nil {
			return "", err
		}
		host = net.IP(ip).String()
	case 3:
		name, err := counted(in)
		if err != nil {
			return "", err
		}
		host = string(name)
	default:
		return "", errors.New("unknown kind of address")
	}
	var port uint16
	if err := binary.Read(in, binary.BigEndian, &port); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// counted reads a byte of length and as many bytes.
func counted(in *bufio.Reader) ([]byte, error) {
	n, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}

func reply(w io.Writer, code byte) error {
	_, err := w.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
	return err
}
