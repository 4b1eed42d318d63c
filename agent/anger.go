package agent

import (
	"strings"
	"unicode"
)

// profane are words that no polite letter holds, in the languages of §10.1.
var profane = phrases(
	`\b(fuck\w*|motherfuck\w*|shit|shitty|bullshit|bs|crap|crappy|ass-?holes?|arseholes?|bastards?|bitch\w*|wtf|stfu|dickheads?|piss(ed)? off|goddamn\w*|god damn|damn (it|you|app|thing|bot)|screw you|bloody (hell|useless|awful)|idiots?|morons?|imbeciles?|dumbass\w*|jerks)\b`,
	`\b(scheiss\w*|arschloch\w*|verdammt\w*|idioten|drecks\w*|saftladen)\b`, `\b(merde|putain|connards?|encul\w+|bordel de|foutre|imbeciles)\b`, `\b(mierda|puta|joder|cabron\w*|pendej\w+|gilipollas|cono|imbeciles)\b`, `\b(cazzo|merda|stronz\w+|vaffanculo|coglion\w+)\b`, `\b(porra|caralho|merda|filhos? da puta|foda-se|puta que)\b`, `\b(klote\w*|godverdomme|kut\w*|klootzak\w*|tering\w*)\b`, `\b(kurwa|gowno|cholera jasna|pierdol\w+|do dupy|dupki|debile)\b`, `\b(siktir\w*|orospu\w*|amk|salak\w*|aptal\w*|serefsiz\w*)`,
	`اللعنه|تبا لكم|اغبياء|حقير|زباله`, `बकवास|हरामी|साले|चूतिया|कमीने`, `くそ|クソ|ふざけるな|ふざけん|バカ野郎|馬鹿野郎`, `他妈的|妈的|操你|狗屎|混蛋|王八蛋|垃圾(公司|软件|服务|产品)`,
)

// furious are phrases of anger about us. "Third time" and its like need what was
// done three times.
var furious = phrases(
	`\b(asked|written|wrote|write|e-?mailed|contacted|called|reported|told you|tried|complained|explained) (\w+ ){0,5}(three|four|five|six|seven|ten|several|many|multiple|countless|\d+) times\b`, `\b(three|four|five|six|several|many|multiple|countless|\d+) times (already|now|and|i (have |'ve )?(asked|written|told|e-?mailed))\b`, `\b(still|got|and|had|with|get|getting) (got )?no (reply|replies|response|responses|answers?) (from you|whatsoever|at all|yet|for)\b|\b(and|still) no (reply|response|answer)\b`, `\byou(r \w+)? sucks?\b|\b(app|product|service|support|software|tool|company|it|this) (really |totally |just )?sucks\b`, `\b(file|make|lodge|submit|raise|register) (a |an )?(\w+ )?complaint( (about|against|with|to) (you|your|this|the company|someone)|[.! ]*$)`, `\b(formal|official) complaint\b`, `\bcomplain(ing)? about (you|your)\b`,
	`\b(what|why|who|where) the (hell|heck|fuck)\b|\bgo to hell\b`, `\b(stupid|dumb|damn|crappy|lousy|bloody|idiotic|moronic) (app|software|tool|product|company|bot|support|system|thing|service|website|board)\b`, `\b(you|you'?re|you are|your (\w+ )?(team|support|service|company|app)( is| are)?) (\w+ ){0,2}(hopeless|useless|clueless|a joke|idiots|pathetic|worthless|rude|disgusting|ridiculous)\b`, `\b(never|haven'?t|not) (\w+ )?(been|felt|seen|had) (\w+ )?(so|such|this) (\w+ )?(bad|badly|poor|poorly|rude|rudely|terrible|awful|disappointed|frustrated|treated)\b`, `\b(so|very|extremely|really|deeply|beyond|super) (disappointed|frustrated|frustrating|annoyed|annoying|upset|unhappy)\b`, `\b(do|does) (you|anyone|anybody) (guys |people )?even (care|read|work)\b`,
	`\bunacceptable\b`, `\b(for the |this is (now )?(the |my |our )|that'?s the |it'?s the )(second|third|fourth|fifth|sixth|tenth|hundredth|nth|umpteenth|\d+(nd|rd|th)) time\b`, `\b(third|fourth|fifth|umpteenth|\d+(rd|th)) time (i|we|i'm|i've|we've|i'?ve had|that i|this (week|month|has|happened))\b`, `\bhow many (more )?times (do|must|should|have|will) (i|we)\b`,
	`\b(this|it|that|your (\w+ )?(service|support|app|product|company|team|software|bot)) (is|are|was) (\w+ ){0,3}(ridiculous|a disgrace|disgraceful|outrageous|pathetic|a joke|useless|worthless|garbage|trash|rubbish|terrible|horrible|awful|appalling|a nightmare|disgusting|the worst|beyond belief|infuriating|a mess|a scam|absurd|insane|shameful|dreadful)\b`, `\b(ridiculous|disgraceful|outrageous|pathetic|useless|worthless|garbage|terrible|horrible|awful|appalling|disgusting|lousy|abysmal|dreadful|shameful) (customer )?(service|support|app|company|product|experience|software|bot|answer|treatment|response)\b`, `\bworst (\w+ ){0,3}(service|support|company|app|experience|product|software|tool|ever)\b`, `\bwhat a (joke|disgrace|scam|waste|nightmare)\b`,
	`\b(furious|fuming|livid|outraged|enraged|disgusted)\b`, `\b(i'?m|i am|we'?re|we are|so|very|really|extremely|beyond) (\w+ )?(angry|pissed|mad at|fed up|frustrated with you|sick of)\b`, `\bfed up\b`, `\bsick (and tired )?of (this|your|you|waiting|being|these|the same)\b`, `\bhad enough of (you|your|this)\b`, `\b(complete|total|absolute|utter|such a|huge|massive) (waste|joke|disgrace|disaster|garbage|nonsense|failure|incompetence|scam)\b`, `\bwaste of (my |our |everyone's )?(time|money)\b`,
	`\b(you|you'?re|you are|bunch of|are) (\w+ ){0,3}(scammers?|thieves|liars|crooks|incompetent|clowns|frauds?|criminals?)\b`, `\b(rip-?off|ripped (me|us) off|total scam|is a scam)\b`, `\bhow dare you\b`, `\b(i|we) (really |absolutely )?(hate|despise|loathe) (you|your|this (app|company|product|software|tool|service))\b`, `\b(lost|losing|lose|out of) (all |my |our )*(patience|temper)\b`, `\b(nobody|no one) (ever )?(answers|replies|responds|cares|helps|bothers)\b`, `\b(ignored|ignoring) (me|us|my|our) (\w+ ){0,3}(again|for|messages?|e?-?mails?|tickets?|days|weeks)\b`, `\bshame on you\b`, `\bincompeten(t|ce)\b`, `\bi('m| am) done with (you|this|your)\b`, `\bnever (using|recommend\w*|buy\w*|work\w* with) (you|this|your)\b`, `\b(absolutely|totally|completely) (furious|useless|unusable|unprofessional)\b`, `\bunprofessional\b`,
	`\b(unverschamt\w*|inakzeptabel|frechheit|unmoglich(er|es)? service|stinksauer|wutend|zum (dritten|vierten) mal|schlechteste\w* (service|support)|eine zumutung|betruger|abzocke)\b`, `\b(inacceptable|inadmissible|scandaleux|scandaleuse|une honte|furieu(x|se)|ras[- ]le[- ]bol|pour la (troisieme|quatrieme) fois|nul a chier|arnaque|escrocs)\b`, `\b(inaceptable|es una verguenza|una verguenza|indignante|furios[oa]|estoy hart[oa]|por (tercera|cuarta) vez|pesimo servicio|estafa\w*|ladrones)\b`, `\b(inaccettabile|vergogn\w+|furios[oa]|sono stuf[oa]|per la (terza|quarta) volta|pessimo servizio|truffa\w*|ladri)\b`, `\b(inaceitavel|vergonha|absurdo|furios[oa]|estou fart[oa]|pela (terceira|quarta) vez|pessimo (servico|atendimento)|golpistas?|ladroes)\b`, `\b(onacceptabel|schandalig|belachelijk|woedend|ik ben het zat|voor de (derde|vierde) keer|waardeloos|oplichters?)\b`, `\b(niedopuszczaln\w+|skandal\w*|wsciekl\w+|mam dosc|po raz (trzeci|czwarty)|beznadziejn\w+|oszust\w+|zlodzieje|zenada)\b`, `\b(kabul edilemez|rezalet|berbat|cok (sinirli|kizgin)\w*|biktim|(ucuncu|dorduncu) kez|dolandirici\w*|yeter artik)`,
	`غير مقبول|فضيحه|غاضب جدا|خدمه سييه|اسوا خدمه|للمره الثالثه|نصابين|محتالين`, `अस्वीकार्य|शर्मनाक|बेहद गुस्सा|बहुत गुस्सा|घटिया|तीसरी बार|धोखेबाज|बेकार (सेवा|सर्विस|ऐप)`, `許せない|最悪|いい加減に|ひどすぎ|怒って|三度目|3回目|詐欺|腹が立`, `太过分|无法接受|不能接受|太差|气死|愤怒|第三次|骗子|忍无可忍|坑人`,
)

// negative are words that make capitals and exclamation marks a sign of anger.
var negative = phrases(
	`\b(not|never|nothing|nobody|no one|can'?t|cannot|won'?t|don'?t|doesn'?t|didn'?t|isn'?t|wasn'?t|broken|broke|fail\w*|wrong|bad|worse|lost|lose|losing|gone|missing|still|again|waiting|wait|useless|ridiculous|terrible|stupid|hate|angry|annoy\w*|fix (this|it)|stop|problem|error|crash\w*|down|why|unusable|late|deleted|hours|weeks)\b`,
	`\b(nicht|nie|kaputt|falsch|immer noch|endlich|pas|jamais|encore|toujours|nunca|roto|todavia|mai|ancora|nao|ainda|niet|nooit|nie dziala|ciagle|degil|hala|calismiyor)\b`,
)

// anger says whether raw, or its normal form s, is written in anger. Shouting
// counts only together with something negative.
func anger(raw, s string) bool {
	if profane.MatchString(s) || furious.MatchString(s) {
		return true
	}
	return (shouted(raw) || strings.Count(collapse(raw), "!!!") >= 2) && negative.MatchString(s)
}

// shouted says whether at least five words are written, 70 % or more of them in
// capitals. Words of one letter and those with figures (codes) do not count.
func shouted(raw string) bool {
	words, upper := 0, 0
	for _, w := range strings.Fields(raw) {
		var up, low, other int
		for _, r := range w {
			switch {
			case unicode.IsUpper(r):
				up++
			case unicode.IsLower(r):
				low++
			case unicode.IsNumber(r):
				other++
			}
		}
		if up+low < 2 || other > 0 {
			continue
		}
		words++
		if low == 0 {
			upper++
		}
	}
	return words >= 5 && upper*10 >= words*7
}

// collapse makes every run of exclamation marks of three or more exactly three.
func collapse(s string) string {
	for strings.Contains(s, "!!!!") {
		s = strings.ReplaceAll(s, "!!!!", "!!!")
	}
	return s
}
