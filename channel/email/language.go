package email

import (
	"regexp"
	"strings"
)

// Words that clients and robots write, in the languages of the channel's rules
// (en, de, fr, es, it, pt, nl, pl, tr, ar, hi, ja, zh) and of their neighbours.

// headerLabels says which header field a label of a written-out header is.
var headerLabels = func() map[string]string {
	m := map[string]string{}
	for field, labels := range map[string]string{
		"from":    "from|von|de|da|van|od|kimden|gönderen|من|प्रेषक|द्वारा|差出人|送信元|发件人|發件人|寄件者|寄件人|från|fra|lähettäjä|от|expéditeur|remitente|mittente|remetente|absender|afzender",
		"date":    "sent|date|gesendet|datum|envoyé|envoyé le|date d'envoi|enviado|enviado el|fecha|inviato|data|enviada|enviada em|enviado em|verzonden|wysłane|wysłano|gönderme|gönderme tarihi|gönderildi|gönderilme tarihi|tarih|تاريخ|التاريخ|تاريخ الإرسال|أرسل|تم الإرسال|भेजा गया|दिनांक|तारीख|送信日時|日付|送信|日時|发送时间|发送日期|日期|時間|时间|寄件日期|傳送日期|skickat|dato|lähetetty|отправлено|дата|sendt",
		"to":      "to|an|à|a|para|aan|do|kime|alıcı|إلى|प्रति|宛先|收件人|收件者|till|til|vastaanottaja|кому|destinataire|destinatario|ke",
		"cc":      "cc|kopie|copie|cópia|kopia|dw|bilgi|نسخة|抄送|副本|kopi|копия|bcc|reply-to|antwort an|responder a|rispondi a|répondre à",
		"subject": "subject|betreff|objet|asunto|oggetto|assunto|onderwerp|temat|konu|الموضوع|الموضوع\u200f|विषय|件名|主题|主題|主旨|ämne|emne|aihe|тема|sujet",
	} {
		for label := range strings.SplitSeq(labels, "|") {
			m[label] = field
		}
	}
	return m
}()

var originalLine = regexp.MustCompile(`(?i)^[-_—=*\s>]{2,}\s*(original[- ]?(message|mail|e-mail|nachricht|bericht)|ursprüngliche (nachricht|e-mail|mail)|originalnachricht|original appointment|message d.origine|message original|message initial|mensaje original|messaggio originale|mensagem original|oorspronkelijk(e)? (bericht|e-mail)|wiadomość oryginalna|oryginalna wiadomość|orijinal (ileti|mesaj|e-posta)|özgün ileti|الرسالة الأصلية|मूल संदेश|元のメッセージ|オリジナルメッセージ|原始邮件|原始郵件|邮件原件|原邮件|ursprungligt meddelande|oprindelig meddelelse|opprinnelig melding|исходное сообщение|reply message|reply to message)\s*[-_—=*]{2,}$|^[-_=*#\s]*.{0,30}\breply above this line\b.{0,20}$`)

var forwardLine = regexp.MustCompile(`(?i)^(>\s?)*([-_—=*]{2,}\s*(forwarded (message|mail|email|by.*)|weitergeleitete (nachricht|mail|e-mail)|message transféré|message réexpédié|courriel transféré|mensaje reenviado|mensaje enviado|messaggio inoltrato|mensagem (encaminhada|reencaminhada)|doorgestuurd bericht|doorgestuurde (mail|e-mail)|przekazana wiadomość|wiadomość przekazana|wiadomość przekazana dalej|yönlendirilmiş (mesaj|ileti)|iletilen (ileti|mesaj)|iletilmiş ileti|رسالة (معاد توجيهها|مُعاد توجيهها|تمت إعادة توجيهها|محولة)|अग्रेषित संदेश|आगे भेजा गया संदेश|転送(された)?メッセージ|转发的?(邮件|信息|消息)|已转发邮件|轉寄(的)?(郵件|訊息)|vidarebefordrat meddelande|videresendt (meddelelse|melding)|пересылаемое сообщение)\s*[-_—=*]{2,}` +
	`|(begin forwarded message|anfang der weitergeleiteten (nachricht|e-mail)|début du message (réexpédié|transféré)|inicio del mensaje reenviado|inizio messaggio inoltrato|início da mensagem (reenviada|encaminhada)|begin doorgestuurd bericht|początek przekazywanej wiadomości|początek przekazanej wiadomości|(iletilen ileti|yönlendirilen ileti|iletilmiş mesaj) başlangıcı|بداية الرسالة المُ?عاد توجيهها|转发的邮件开始|开始转发的邮件|以下是转发的邮件|下面是被转发的邮件|開始轉寄郵件|以下是轉寄的郵件|転送されたメッセージ|अग्रेषित संदेश प्रारंभ)\s?[:：])$`)

var (
	forwardSubject = regexp.MustCompile(`(?i)^\s*(fwd?|wg|tr|rv|enc|pd|i|vs|vb|doorst|ilt|iletilen|i̇lt|tf|fs|转发|轉寄|転送|إعادة توجيه|تحويل)\s?(\[\d+\])?\s?[:：]`)
	replySubject   = regexp.MustCompile(`(?i)^\s*(re|aw|sv|antw|odp|ynt|yan|ref|res|rif|r|رد|回复|回覆|答复|返信|उत्तर)\s?(\[\d+\])?\s?[:：]`)
)

// pointsBelow is how customers say that they wrote into the quotation, where
// their client marks none of its lines.
var pointsBelow = regexp.MustCompile(`(?i)\b(answers?|answered|comments?|commented|repl(y|ies|ied)|responses?|responded|remarks|see|notes)\b.{0,30}\b(below|inline|in[- ]line|in (red|blue|green|bold|capitals|caps)|between the lines|further down)\b` +
	`|(antwort(en)?|anmerkung(en)?|kommentare?|siehe|geantwortet).{0,40}(unten|im text|in rot|rot markiert|in blau|inline)|(réponses?|commentaires?|voir|répondu).{0,40}(ci-dessous|plus bas|en rouge|en bleu|dans le texte)|(respuestas?|respondo|comentarios?|ver).{0,40}(abajo|más abajo|en rojo|en azul)|(risposte|risposta|rispondo|commenti|vedi).{0,40}(sotto|di seguito|in rosso|in blu)|(respostas?|respondo|comentários|ver).{0,40}(abaixo|em vermelho|em azul)|(antwoord(en)?|opmerkingen|zie).{0,40}(hieronder|onder|in het rood|in rood|in blauw)|(odpowiedzi|odpowiadam|komentarze|patrz).{0,40}(poniżej|na czerwono|w treści)|(cevaplarım|yanıtlarım|cevap).{0,40}(aşağıda|kırmızı)|以下に(回答|返信|記入)|インラインで|(回复|答复|答案|回答).{0,10}(在下面|如下|见下|红色)|见下文`)

// What phones and clients add. A phoneLine must also name a device or program.
var (
	lineLink  = regexp.MustCompile(`[<(\[]?https?://\S+`)
	phoneName = regexp.MustCompile(`(?i)iphone|ipad|ipod|android|galaxy|samsung|mobil|handy|cell|phone|smartphone|telefon|teléfono|telefono|téléphone|celular|tablet|outlook|yahoo|mail|windows|blackberry|huawei|honor|xiaomi|redmi|poco|pixel|nokia|sony|xperia|proton|k-9|spark|gmail|gmx|web\.de|aol|tuta|thunderbird|oneplus|oppo|vivo|motorola|htc|device|gerät|appareil|dispositivo|toestel|apparaat|urządzenia|cihaz|smart|watch|mac|手机|手機|携帯|スマートフォン|المحمول|هاتف|फ़ोन|फोन|मोबाइल|邮箱|郵件|メール`)
	phoneLine = regexp.MustCompile(`(?i)^(` + strings.Join([]string{
		`(sent|written|composed) (securely )?(from|with|via|by|using|on) .+`,
		`sent from (my )?.+`,
		`(von|vom) .{2,50} (gesendet|verschickt|versendet)`, `(gesendet|verschickt|versendet|geschrieben) (mit|von|vom|über|aus|via) .+`,
		`diese (nachricht|e-?mail|mail) wurde (von|vom|mit|über) .+ (gesendet|verschickt|versendet)`,
		`envoyé (de|depuis|à partir de|à partir d.|avec|par|via|du|d.).+`, `(ce message|cet e-?mail) a été envoyé (de|depuis|avec) .+`,
		`enviad[oa] (desde|do|da|de|a partir d[eo]|com|con|por|via|vía|pelo|pela|através d[eo]) .+`,
		`inviat[oa] (da|dal|dall.|con|tramite|dalla|via) ?.+`,
		`(verzonden|verstuurd|gestuurd) (vanaf|met|vanuit|via|van|door|mijn) .+`,
		`wysłan[eoya] (z|za|przez|ze|przy) .+`,
		`.{2,50}(dan|den|tan|ten|ile|ımdan|imden|aracılığıyla|üzerinden) gönderildi`, `iphone.?umdan gönderildi`,
		`(أُ?رسلت?|تم الإرسال|تم إرساله?ا?|مرسل) (من|بواسطة|عبر).+`,
		`.{2,50} से भेजा गया`,
		`.{2,50}から送信(されました|しました)?`, `.{2,50}(で|より)送信(されました)?`,
		`[发發]自 ?(我的)? ?.+`, `[从從] ?(我的)? ?.{2,40}(发送|傳送|寄出|发出)`, `(由|使用|通过|透過) ?.{2,40}(发送|傳送|寄出)`,
		`skickat från .+`, `sendt fra .+`, `lähetetty .+`, `odesláno z .+`, `отправлено (с|из) .+`,
	}, "|") + `)[.。!]?$`)
	outlookLine = regexp.MustCompile(`(?i)^(get outlook for .+|(holen sie sich|laden sie) outlook für .+|outlook für .+ (beziehen|herunterladen|laden)|(obtenez|télécharger|téléchargez) outlook pour .+|(obtener|obtén|descargar) outlook para .+|(obter|obtenha|baixe) o? ?outlook para .+|(scarica|ottieni) outlook per .+|(download|haal) outlook voor .+|outlook voor .+ (downloaden|ophalen)|(pobierz|uzyskaj)( aplikację| program)? outlook (dla|na) .+|.*outlook.?u? (edinin|indirin|alın)|(获取|下载|取得|下載) ?outlook .+|outlook for .+ (を入手|を取得).*|الحصول على outlook .+|yahoo mail: search, organize, conquer|.+ के लिए outlook प्राप्त करें|outlook प्राप्त करें.*)[.。]?$`)
)

// robotWords begin the subjects of out-of-office robots.
const robotWords = `auto(matic|mated)?[- ]?(reply|response|responder|answer)|autoreply|(i am |i'm |currently |am )?out of (the )?office( (auto)?reply)?|ooo|on (vacation|holiday|leave|annual leave|maternity leave|parental leave)|vacation (reply|response|message|notice)|away from (my|the) (office|desk|mail|email)` +
	`|automatische (antwort(mail)?|abwesenheits\p{L}*|rückmeldung)|auto(matische)?[- ]?antwort|abwesenheits(notiz|nachricht|meldung|benachrichtigung|info|assistent)|abwesenheit|abwesend|nicht im (büro|hause?)|(ich bin )?im urlaub` +
	`|réponse automatique|message d.absence|absence du bureau|absen(ce|t|te)( pour congés)?|notification d.absence|en (congés?|vacances)` +
	`|respuesta autom[aá]tica|contestaci[oó]n autom[aá]tica|fuera de (la )?oficina|ausencia (de la oficina|temporal)|ausente|de vacaciones|mensaje autom[aá]tico` +
	`|risposta automatica|fuori (sede|ufficio)|assen(za|te) dall.ufficio|assente|messaggio automatico|in ferie` +
	`|resposta autom[aá]tica|fora do escrit[oó]rio|ausência( do escritório| temporária)?|de f[eé]rias|mensagem autom[aá]tica` +
	`|automatisch (antwoord|bericht)|afwezig(heid|heidsbericht|heidsmelding)?|niet op kantoor|op vakantie` +
	`|autoodpowied[zź]|automatyczna odpowied[zź]|odpowied[zź] automatyczna|poza biurem|nieobecno[sś][cć]( w biurze)?|nieobecn[ya]|na urlopie` +
	`|otomatik (yanıt|cevap|ileti|mesaj)|(ofis|büro) dışı(nda|ndayım)?|ofiste değilim|(yıllık )?izin(de|deyim)` +
	`|(ال)?رد (ال)?(تلقائي|آلي)|خارج المكتب|في إجازة` +
	`|स्वचालित (उत्तर|जवाब|प्रतिक्रिया)|स्वतः (उत्तर|जवाब)|स्वत: उत्तर|कार्यालय से बाहर|ऑफिस से बाहर|अवकाश पर` +
	`|自動(返信|応答|送信)(メール|メッセージ)?|不在(通知|のため|の?お知らせ|の?ご?連絡)?|休暇(中|のお知らせ)|外出中` +
	`|自动(回复|答复|回覆)(邮件)?|自動(回覆|回復|答覆)(郵件)?|外出(自动|自動|通知)(回复|回覆)?|不在办公室|不在辦公室|休假(中|通知)` +
	`|autosvar|automaattinen vastaus|frånvaro|автоответ|автоматический ответ`

// Out-of-office robots that set no header (channels.md §10.7): how their
// subjects begin, and what the first words of their text say.
var (
	robotPrefix  = regexp.MustCompile(`(?i)^\s*[\[【(]?(` + robotWords + `)`)
	robotSubject = regexp.MustCompile(`(?i)^\s*[\[【(]?(` + robotWords + `)\s*($|[\]】)]|[:：\-–—(\[{/|,.!;]|(re|aw|wg|sv|fwd?)\s?:|(until|till|from|bis|vom|ab|jusqu|du|hasta|del|desde|fino|dal|até|de \d|tot|van|do|od|notification|message|notice|notiz|info)\b)`)
	robotOpening = regexp.MustCompile(`(?i)(\b(i am|i'm|i’m|i will be|i'll be|we are) (currently |presently |now |still )?(out of (the )?office|away from (the office|my (desk|e-?mail|computer))|on (annual |maternity |paternity |parental |sick |medical )?(leave|vacation|holiday)|on holidays?|out of office)` +
		`|this is an (automatic|automated|auto)[- ]?(reply|response|message|generated)|(automatic|automated) (reply|response|message)\b.{0,40}(do not reply|out of)|(i am|i'm|i’m|i will be|i'll be) (currently )?away (until|till|from)|i (will|am going to) be (back )?(in the office|back) (on|from|after|again)|i have (limited|no|very limited) access to (my )?e-?mail` +
		`|ich befinde mich .{0,40}(im urlaub|nicht im büro|in elternzeit|in mutterschutz)|ich bin (erst |ab |am |wieder ).{0,40}wieder (im büro|erreichbar|für sie da|zurück)|ich bin (derzeit|momentan|zurzeit|zur zeit|aktuell|vom|bis|ab|leider|im moment|gerade)?.{0,60}(nicht im (büro|hause?|dienst)|außer haus|abwesend|im urlaub|in elternzeit|in mutterschutz|nicht erreichbar)|(derzeit|zurzeit|zur zeit|momentan) bin ich .{0,40}(nicht im|nicht erreichbar|abwesend|im urlaub|außer haus)|bin ich .{0,30}(nicht im büro|abwesend|im urlaub|außer haus)|dies(e e-?mail)? (ist|wurde) (eine )?automatisch|automatische (antwort|abwesenheitsnotiz)` +
		`|je suis de retour (le|au)|je suis (actuellement |en ce moment )?(absente?|en (congés?|vacances|déplacement|arrêt)|hors du bureau)|je serai (absente?|en (congés?|vacances)|de retour)|actuellement (absente?|en congés?)|ceci est (une réponse|un message) automatique` +
		`|no estaré disponible hasta|(me encuentro|estoy|estaré|actualmente estoy) (actualmente |ahora )?(fuera de (la |mi )?oficina|de vacaciones|ausente|de baja|de permiso)|este es un mensaje automático|(ésta|esta) es una respuesta automática` +
		`|(sono|sarò|al momento sono) (attualmente |al momento |momentaneamente )?(fuori (ufficio|sede)|assente|in ferie|in vacanza|in maternità)|questa è una risposta automatica|questo è un messaggio automatico` +
		`|(estou|estarei|encontro-me|atualmente estou) (atualmente |neste momento |no momento )?(fora do escritório|de férias|ausente|em férias|de licença)|esta é uma (resposta|mensagem) automática` +
		`|(ik ben|momenteel ben ik|op dit moment ben ik|ben ik) (momenteel |op dit moment |tot .{0,30}|vanaf .{0,30})?(niet (op kantoor|aanwezig|bereikbaar)|afwezig|op vakantie|met (verlof|vakantie)|buiten kantoor)|dit is een automatisch` +
		`|(jestem|przebywam|obecnie jestem|aktualnie jestem|będę) (obecnie |aktualnie )?(poza biurem|na urlopie|nieobecn[ya])|to jest (automatyczna|wiadomość automatyczna)|wiadomość (wygenerowana|wysłana) automatycznie` +
		`|(şu anda|şu an|halen) .{0,30}(ofis dışında|ofiste değil|izinde|tatilde)|ofis dışındayım|(yıllık )?izindeyim|izinde olacağım|bu (bir )?otomatik` +
		`|(أنا|سأكون|أكون)( حاليا| حاليًا| حالياً)? (خارج المكتب|في إجازة)|هذه? (رسالة|رد) (تلقائي|آلي)|هذا رد (تلقائي|آلي)` +
		`|मैं (अभी |वर्तमान में |फ़िलहाल |फिलहाल )?(.{0,30})?(कार्यालय से बाहर|ऑफिस से बाहर|छुट्टी पर|अवकाश पर)|यह (एक )?स्वचालित` +
		`|(不在に(して|させて|し)|休暇(を(いただ|頂|取)|中で|のため)|外出して|出張(中|のため)|席を外して)|この(メール|メッセージ)は自動(返信|送信|的)|自動返信(です|メール|にて)` +
		`|我(目前|现在|現在|正在|将|將|已)?.{0,20}(不在办公室|不在辦公室|休假|度假|外出|出差|请假|請假)|这是(一封)?自动(回复|答复)|這是(一封)?自動(回覆|回信))`)
	// robotSign is what robots add and customers rarely say.
	robotSign = regexp.MustCompile(`(?i)automat|limited access|no access to|urgent|emergenc|(in|during) my absence|when i return|upon my return|as soon as (i|possible)|dringend|abwesenheit|vertretung|e-mails? (werden|wird) nicht|rückkehr|urgen|mon absence|mon retour|mi regreso|mi ausencia|rientro|assenza|meu retorno|meu regresso|minha ausência|spoed|afwezigheid|terug (ben|op)|piln|nieobecności|powroci|acil|dönüşümde|عاجل|طارئ|عودتي|तत्काल|अत्यावश्यक|लौट|緊急|至急|お急ぎ|折り返し|戻り次第|紧急|急事|回来后`)
)
