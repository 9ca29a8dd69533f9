#include "engine/job/expansion_words.h"

namespace wan {
namespace {

constexpr const char* kEnglish =
    "You write prompts for a model that makes short silent videos of about five seconds, one shot without cuts. The "
    "user "
    "gives you a short description. Write it out as one paragraph of 80 to 120 words in English, in the present "
    "tense.\n"
    "Say, in this order and as far as it suits the description: the main subject with its looks, clothes and "
    "expression; what it does, one continuous movement that fits into five seconds, with its speed and direction; the "
    "place and what else is in it; the framing and the camera (close-up, medium or wide shot; still, panning, pushing "
    "in, following); the light and the time of day; the colours, the mood and the visual style.\n"
    "Keep everything that the description says: names, numbers, colours, words that are to be read in the picture (in "
    "quotation marks, in their own language), and the style that it asks for; without one write as for live-action "
    "film. Invent only what it leaves open. Write what can be seen: no sounds, no smells, no thoughts, no story before "
    "or "
    "after. Write plain sentences, no lists, no weights, no tags, nothing about what is not there.\n";

constexpr const char* kChinese =
    "你为一个视频生成模型撰写提示词。该模型生成约五秒、单镜头、无剪辑、无声音的短视频。用户会给出一段简短的描述，请把它"
    "扩写成一段中文，"
    "长度为100到200字，使用现在时的陈述句。\n"
    "请根据描述依次写出：主体及其外貌、衣着、表情；主体的动作，即一个能在五秒内完成的连续动作，并说明速度和方向；场景以"
    "及其中的其他事物；"
    "景别与镜头运动（特写、中景或远景；固定、横移、推近或跟随）；光线与时间；色彩、氛围和画面风格。\n"
    "保留描述中的全部信息：名称、数量、颜色、画面中需要出现的文字（放在引号中并保持原来的语言）以及所要求的风格；没有指"
    "定风格时按实拍影片来写。"
    "只补充描述没有说明的内容。只写看得见的内容，不写声音、气味、心理活动，也不写前因后果。使用通顺的句子，不用列表、权"
    "重或标签，"
    "不写画面中没有的东西。\n";

constexpr const char* kEnglishPicture =
    "The picture is the first frame of the video. Take subject, place, light and style from it, mention them in a few "
    "words, and do not contradict it; use most of the words for what moves, how, and what the camera does from there "
    "on.\n";
constexpr const char* kEnglishLastPicture =
    "The second picture is the last frame: describe a movement that leads from the first picture to it.\n";
constexpr const char* kEnglishUnseen =
    "The video begins with a picture that you do not see, and the description is about it. Do not invent looks, "
    "clothes, "
    "place or light that the description does not name; write about the movement of the subject, of what is around it, "
    "and of the camera. 60 words are enough.\n";
constexpr const char* kEnglishVideo =
    "The video is made from another video, which you do not see: its movement, framing and camera stay, and the "
    "description says what it is to look like. Do not invent another movement or another camera; write about subject, "
    "materials, place, light, colours and style.\n";

constexpr const char* kChinesePicture =
    "图片是视频的第一帧。主体、场景、光线和风格以图片为准，用少量文字提及，不得与图片矛盾；把大部分篇幅用于描写之后的运"
    "动方式和镜头运动。\n";
constexpr const char* kChineseLastPicture = "第二张图片是视频的最后一帧：请描写从第一张图片过渡到它的运动。\n";
constexpr const char* kChineseUnseen =
    "视频以一张你看不到的图片开始，描述与该图片有关。不要编造描述中没有提到的外貌、衣着、场景或光线，只写主体的动作、周"
    "围事物的变化和镜头运动，"
    "60字即可。\n";
constexpr const char* kChineseVideo =
    "视频由另一段你看不到的视频改制而成：原有的运动、构图和镜头保持不变，描述说明它应当呈现的样子。不要编造其他动作或镜"
    "头，"
    "请写主体、材质、场景、光线、色彩和风格。\n";

constexpr const char* kEnglishEnd =
    "Answer with the paragraph alone: no title, no quotation marks around it, no remark before or after it, no "
    "question.";
constexpr const char* kChineseEnd = "只回答这一段文字：不要标题，不要用引号包住全文，不要在前后添加说明，也不要提问。";

}  // namespace

Language language_of(std::string_view prompt) {
  size_t chinese = 0, latin = 0;
  for (size_t at = 0; at < prompt.size();) {
    const auto first = static_cast<unsigned char>(prompt[at]);
    if (first < 0x80) {
      latin += (first | 0x20u) >= 'a' && (first | 0x20u) <= 'z';
      ++at;
      continue;
    }
    const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (bytes == 3 && at + 2 < prompt.size()) {
      const unsigned letter = (first & 0x0Fu) << 12 | (static_cast<unsigned char>(prompt[at + 1]) & 0x3Fu) << 6 |
                              (static_cast<unsigned char>(prompt[at + 2]) & 0x3Fu);
      if (letter >= 0x3040 && letter <= 0x30FF) return Language::English;  // Japanese
      chinese += (letter >= 0x3400 && letter <= 0x4DBF) || (letter >= 0x4E00 && letter <= 0x9FFF);
    }
    at += bytes;
  }
  return chinese > 0 && chinese >= latin ? Language::Chinese : Language::English;
}

std::string system_text(Task task, Language language, int pictures) {
  const bool english = language == Language::English;
  std::string text = english ? kEnglish : kChinese;
  if (task == Task::I2V && pictures > 0) text += english ? kEnglishPicture : kChinesePicture;
  if (task == Task::I2V && pictures > 1) text += english ? kEnglishLastPicture : kChineseLastPicture;
  if (task == Task::I2V && pictures == 0) text += english ? kEnglishUnseen : kChineseUnseen;
  if (task == Task::V2V) text += english ? kEnglishVideo : kChineseVideo;
  return text + (english ? kEnglishEnd : kChineseEnd);
}

std::string user_text(const std::string& prompt, Language language) {
  return (language == Language::English ? "The description:\n" : "描述：\n") + prompt;
}

}  // namespace wan
