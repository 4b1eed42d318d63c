package chaos

var networkNemeses []Nemesis
