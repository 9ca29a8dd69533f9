"""Prompts: plain ones for the networks, and odd ones, each of which reaches another rule of cleaning or of the tokenizer."""

PLAIN = ['A grey heron waits at the edge of a flooded field. Slow zoom, morning light.',
         '一艘小船停在雾中的湖面，远处有灯光。']

# Words for drawn prompts: subject, action, place, ending.
PARTS = {'a': 'a red fox|an old fisherman|two small robots|一只橘猫|a paper boat|the last tram'.split('|'),
         'b': 'walks slowly through|waits under|runs across|静静坐在|drifts along'.split('|'),
         'c': 'a misty pine forest|an ancient stone bridge|the rainy street|安静的图书馆|a frozen harbour'.split('|'),
         'd': '. The camera pans left.|，自然光，手持拍摄。|. Warm tones, high contrast, 4K.|…  <b>&amp; fast!</b>|'.split('|')}

ODD = {
    'empty': '', 'one letter': 'a', 'plain': PLAIN[0], 'chinese': PLAIN[1], 'mixed': 'A 小船 drifts, 缓缓地, at dawn.',
    'spaces': '  two   spaces\t\ttabs \n\n lines  ', 'unicode spaces': 'no\u00a0break\u2003em\u3000wide\u200bzero\u2009thin',
    'line ends': 'one\r\ntwo\rthree\u2028four\u2029five\u0085six', 'only spaces': ' \t\n ',
    'entity': 'salt &amp; pepper &lt;3 &quot;x&quot; &eacute; &copy;', 'entity twice': '&amp;amp; &amp;lt;b&amp;gt; &amp;eacute;',
    'entity without semicolon': 'a &amp b &copy 2024 &notit; &EACUTE; &#233; &#x1F600;', 'entity and tag': '<b>bold &amp; loud</b> &nbsp;end',
    'mojibake': 'cafÃ© dâ€™or â€” naÃ¯ve', 'mojibake twice': 'cafÃƒÂ©', 'windows 1252': 'it\u0092s \u0093quoted\u0094 \u0096 dash',
    'curly quotes': '“double” ‘single’ ‚low‛ „low‟', 'ligatures': 'ﬁre ﬂow eﬀort ﬃ ﬄ ĳ ǆ', 'full width': 'ＡＢＣ　１２３！？～', 'half width': 'ｱｲｳ ｶﾞ ﾊﾟ',
    'composed': 'é ñ ü Å', 'decomposed': 'e\u0301 n\u0303 u\u0308 A\u030a', 'compatibility': '① ㎏ ½ ™ ﷺ Ⅳ ｶ', 'control': 'a\x00b\x07c\x1b[31mred\x1b[0m\x7fd\ufeffe\ufff9f',
    'emoji': '😀 👩‍🚀 🇩🇪 👍🏽 ❤️', 'combining': 'ก็ กำ क्षि g̈ 한 각', 'rare': '𠀀𠀁 𝔘𝔫𝔦 ꙮ ⸘', 'unknown run': 'ЖЩЪ ЫЭЮ and ﻻ then ๛',
    'mark': 'a▁b ▁▁c', 'end of text': 'before</s>after', 'padding token': '<pad>x<unk>y<s>', 'sentinels': '<extra_id_0> and <extra_id_299><extra_id_7>x',
    'almost sentinel': '<extra_id_300> <EXTRA_ID_1> < /s>', 'byte piece': '<0x41><0x0A>', 'digits': '3.14159 1,000,000 2024-06-01 16:9 4K',
    'punctuation': '!!! ??? ... ---- ((( ))) [x] {y} @#$%^*_+=|\\/~`', 'russian': 'Рыжая лиса идёт по лесу.', 'arabic': 'قطة حمراء تمشي', 'korean': '붉은 여우가 걷는다',
    'long word': 'incomprehensibilities' * 6, 'one letter many times': 'a' * 700, 'past the end': 'the quick brown fox jumps over the lazy dog ' * 30,
    'past the end in chinese': '一艘小船停在雾中的湖面' * 60, 'ends at a space': 'word ' * 3,
}
