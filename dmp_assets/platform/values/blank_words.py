"""Words for no value in the languages of those who export: the lists of `words.py`.

A line a language, `~` for a space inside of a word. Words stand as their language writes them;
brackets, quotes, accents, width and kinds of dashes do not matter (see `words.key`).
"""

import unicodedata
from collections.abc import Iterator

_PROGRAMS = r"""
null \n nil none undefined void nan na <na> #n/a #na #null! #value! #ref! #name? #div/0!
n/a n/a. n~/~a n.~a. n.a. n.a n/d n.d. n/v n.v. {} [] '' "" inf -inf infinity -infinity nat
object~object not~set not_set not-set notset missing empty blank unspecified unassigned unset
uninitialized unavailable unidentified undetermined undisclosed redacted withheld anonymized tbd tba
not~available not~provided not~applicable not~specified not~known not~given not~entered not~found
not~collected
t.b.d. not~recorded not~defined not~assigned not~disclosed not~supplied no~value no~data
no~name no~information no~info data~not~found unknown unknow unkown
"""
_WORDS = """
unbekannt unbekannte k.a. k.a k.~a. o.a. o.~a. keine keiner kein keine~angabe keine~angaben leer
nicht~angegeben nicht~bekannt nicht~gesetzt nicht~vorhanden nicht~verfügbar nicht~zutreffend
nicht~anwendbar nicht~definiert nicht~erfasst nicht~ausgefüllt nicht~hinterlegt nicht~gepflegt
nicht~zugewiesen trifft~nicht~zu entfällt ohne ohne~angabe undefiniert unbestimmt fehlt fehlend
kein~wert kein~name keine~daten keine~e-mail keine~email kein~telefon nichts fehlanzeige
inconnu inconnue aucun aucune vide néant nul rien indéfini indéfinie s.o. n.c. n.r. n/c n/r
non~défini non~définie non~renseigné non~renseignée non~disponible non~applicable non~spécifié
non~spécifiée non~communiqué non~communiquée non~précisé non~précisée non~fourni non~attribué
sans~objet sans~réponse pas~de~données
desconocido desconocida ninguno ninguna no~disponible no~definido no~definida sin~datos vacío s/d
s.d. s/n s/i sin~dato sin~información sin~especificar sin~definir sin~asignar sin~valor sin~nombre
sin~correo sin~email sin~teléfono no~aplica no~especificado no~especificada no~informado no~consta
no~tiene no~asignado no~registrado no~indicado nulo nula nada
vazio desconhecido desconhecida nenhum nenhuma não~informado não~informada não~definido
não~definida não~disponível não~aplicável não~se~aplica não~especificado não~consta não~tem
não~preenchido não~registrado sem~dados sem~informação sem~valor sem~nome sem~email sem~telefone
indefinido indefinida n/i
sconosciuto sconosciuta nessuno nessuna non~definito non~definita non~disponibile
non~specificato non~specificata non~applicabile non~indicato non~inserito non~impostato
non~presente non~noto nullo nulla vuoto assente mancante dato~mancante
onbekend geen niet~ingevuld niet~bekend niet~opgegeven niet~ingesteld niet~beschikbaar
niet~gespecificeerd niet~van~toepassing n.v.t. n.v.t nvt leeg ongedefinieerd niets
geen~gegevens geen~waarde
nieznany nieznana nieznane brak brak~danych brak~informacji nie~dotyczy nie~podano nie~ustawiono
nie~określono nieokreślony nieokreślona nieokreślone nie~wiadomo nieustalony niedostępne puste
pusty b/d b.d. nd bd
neznámý neznámá neznámé neznámy neuvedeno neuvedené nezadáno nezadané nevyplněno nedostupné
neurčeno nedefinováno nenastaveno není není~k~dispozici bez~údajů žádný žádná žádné žiadny žiadna
žiadne prázdné nepoznato nepoznat nema nema~podataka nije~navedeno nije~definirano neznano
ni~podatka
ismeretlen nincs nincs~adat nincs~megadva üres semmi necunoscut necunoscută nedefinit nespecificat
fără~date lipsă
bilinmiyor bilinmeyen yok belirtilmemiş belirtilmedi belirsiz boş tanımsız girilmemiş girilmedi
mevcut~değil veri~yok bilgi~yok uygulanamaz ayarlanmamış
okänd okänt saknas uppgift~saknas ej~angivet ej~angiven ej~tillgänglig ej~tillämpligt ingen inget
inga~uppgifter odefinierad ukjent ikke~angitt ikke~oppgitt ikke~tilgjengelig ikke~relevant
ikke~satt mangler ukendt ikke~angivet ikke~oplyst ikke~tilgængelig intet tuntematon ei~tiedossa
ei~saatavilla ei~määritetty ei~ilmoitettu tyhjä puuttuu óþekkt
неизвестно неизвестный неизвестная неизвестен нет не~указано не~указан не~указана не~задано
не~задан не~задана не~определено не~определён не~определен не~определена не~заполнено
не~установлено не~применимо неприменимо не~выбрано не~известно отсутствует пусто пустой н/д н.д.
б/н нет~данных нет~информации нет~значения без~имени
невідомо невідомий невідома не~вказано немає немає~даних відсутній відсутнє порожньо
няма няма~данни не~е~посочено непознато нема
άγνωστο άγνωστος άγνωστη κανένα κανένας δεν~υπάρχει μη~διαθέσιμο κενό δ/υ
غير~معروف غير~محدد غير~متوفر غير~متاح غير~مسجل غير~موجود لا~يوجد لا~شيء لا~ينطبق مجهول فارغ
نامشخص نامعلوم ندارد خالی
לא~ידוע לא~הוזן לא~מוגדר לא~זמין אין ריק
अज्ञात उपलब्ध~नहीं कोई~नहीं लागू~नहीं नहीं~है पता~नहीं ज्ञात~नहीं खाली
ไม่มี ไม่ทราบ ไม่ระบุ ไม่มีข้อมูล ว่าง
không~có không~rõ không~xác~định chưa~có chưa~cập~nhật trống
tidak~ada tidak~diketahui tidak~tersedia belum~diisi kosong tiada
不明 不詳 未知 無 無し 無い なし ナシ 未設定 未登録 未入力 未記入 無記入 未定 未回答 未選択 未確認
未取得 未指定 未提供 未定義 該当なし 該当無し 該当せず 非該当 情報なし データなし データ無し 値なし
記載なし 記入なし 設定なし 登録なし 回答なし 指定なし 特になし 対象外 非公開 空 空白 空欄 ヌル
无 没有 沒有 不详 不知道 暂无 暫無 暂缺 未填 未填写 未填寫 未设置 未設置 未登记 未登記 未注册 未註冊
未绑定 未綁定 未定义 不适用 不適用 空值 无数据 無資料 无资料 無數據 缺失 数据缺失 待定 待补充 保密
없음 해당없음 해당~없음 미상 불명 미정 미등록 미설정 미입력 미지정 미확인 비공개 알수없음 알~수~없음
정보없음 정보~없음 값없음 값~없음 데이터없음 데이터~없음 널
"""
_OTHERWISE = """
na nil yok brak leer vide void nd bd nvt nul nula nada rien nema нема bos ohne kein nulla tbd tba
空 無 미정 nulo mangler ingen fehlt lipsa ures s.o. n.c. n.r. s.d. b.d. o.a.
"""


def listed(text: str) -> frozenset[str]:
    """Words by spaces; `~` inside of one stands for a space."""
    return frozenset(word.replace("~", " ") for word in text.split())


def _without_accents(words: frozenset[str]) -> Iterator[str]:
    """As who has no such keys writes them; of Latin letters only."""
    for word in words:
        if all(letter < "\u0250" for letter in word):
            apart = unicodedata.normalize("NFD", word.replace("ı", "i"))
            yield "".join(letter for letter in apart if not unicodedata.combining(letter))


_LISTED = listed(_PROGRAMS) | listed(_WORDS)
COMMON: frozenset[str] = _LISTED | frozenset(_without_accents(_LISTED))
"""Words that mean nothing, whatever the kind of the value."""
OTHERWISE: frozenset[str] = listed(_OTHERWISE)
"""Those of them that people, places, ids and codes are called as well."""
