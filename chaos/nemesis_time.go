package chaos

var timeNemeses []Nemesis
