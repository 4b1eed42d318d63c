package embedded

import (
	"os"
	"path/filepath"
)

// account is how the server's programs run. Postgres refuses root, so a program
// of root's runs either in a user namespace, where root's files belong to an
// ordinary id, or as the account "nobody". The zero account is the caller's own.
type account struct {
	namespace bool
	nobody    bool
}

// nobody's ids on every Linux we know.
const nobodyID = 65534

// ordinary is the account under which Postgres starts here.
func ordinary() account {
	if os.Getuid() != 0 {
		return account{}
	}
	if namespaces() {
		return account{namespace: true}
	}
	return account{nobody: true}
}

// own gives a folder to the account; what lies in it too.
func (a account) own(dir string) error {
	if !a.nobody {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobodyID, nobodyID)
	})
}

// reaches says whether the account may enter the folder dir, which exists.
func (a account) reaches(dir string) bool {
	if !a.nobody {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return true
	}
}
