package chaos

var processNemeses []Nemesis
