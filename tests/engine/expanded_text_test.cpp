// What is made of a language server's answers, good and bad.
#include "engine/job/expanded_text.h"

#include <gtest/gtest.h>

#include "engine/job/expansion_words.h"
#include "tests/support/chat_server.h"

namespace wan {
namespace {

using nlohmann::json;

const std::string kGood = kExpandedPrompt;

std::string text_of(const json& content) {
  const ExpandedText read = expanded_text(chat_of(content));
  EXPECT_TRUE(read.text.empty() != read.wrong.empty()) << read.text << read.wrong;
  return read.text;
}

/// Why the answer is refused; empty where it is taken.
std::string wrong_of(const std::string& body) {
  const ExpandedText read = expanded_text(body);
  EXPECT_TRUE(read.text.empty() != read.wrong.empty()) << read.text << read.wrong;
  EXPECT_EQ(read.wrong.find('\n'), std::string::npos) << "one line";
  return read.wrong;
}

bool refuses(const json& content, const std::string& why) {
  const std::string wrong = wrong_of(chat_of(content));
  return wrong.find(why) != std::string::npos || (ADD_FAILURE() << wrong, false);
}

TEST(ExpandedText, IsTheMessageOfTheFirstChoice) {
  EXPECT_EQ(text_of(kGood), kGood);
  EXPECT_EQ(text_of("\n  " + kGood + " \r\n"), kGood);
  const json part = {{"type", "text"}, {"text", kGood}}, thought = {{"type", "reasoning"}, {"text", "hm"}};
  EXPECT_EQ(text_of(json::array({part})), kGood);
  EXPECT_EQ(text_of(json::array({thought, part})), kGood);
}

TEST(ExpandedText, LosesWhatModelsPutAroundIt) {
  for (const std::string& around : {
           "<think>\nThe user wants a circle.\n</think>\n\n" + kGood,
           "The user wants a circle.\n</think>\n" + kGood,
           "```\n" + kGood + "\n```",
           "```text\n" + kGood + "\n```\nLet me know if it fits.",
           "Here is the expanded prompt:\n\n" + kGood,
           "Here’s your prompt: " + kGood,
           "Sure!\n" + kGood,
           "Sure! Here is the prompt:\n\"" + kGood + "\"",
           "**Prompt:** " + kGood,
           "**Expanded prompt**: \"" + kGood + "\"",
           "以下是扩写后的提示词：\n" + kGood,
           "\"" + kGood + "\"",
           "“" + kGood + "”",
           "「" + kGood + "」",
           "`" + kGood + "`",
           "# Prompt\n" + kGood,
           "> " + kGood,
           kGood + "\n\nLet me know if you want changes.",
           kGood + "\n\n(Word count: 24)",
           "<think>a</think>Certainly! Here is it:\n```\n“" + kGood + "”\n```",
       })
    EXPECT_EQ(text_of(around), kGood) << around;
  EXPECT_EQ(
      text_of("A bright **red** circle\n- glides slowly\n- to the right\n\non a  black\tbackground in soft light"),
      "A bright red circle glides slowly to the right on a black background in soft light");
}

TEST(ExpandedText, KeepsQuotationsWithinIt) {
  const std::string signs = "\"Open\" stands on a sign above the door of a small shop, and rain runs down \"Closed\"";
  EXPECT_EQ(text_of(signs), signs);
  const std::string colon = "A man holds a sign that reads: hello, while the wind moves his grey coat and hair";
  EXPECT_EQ(text_of(colon), colon);
}

TEST(ExpandedText, RefusesWhatIsNoDescription) {
  EXPECT_TRUE(
      refuses("I'm sorry, but I can't help with that request, since it is not something that I do.", "it refuses"));
  EXPECT_TRUE(refuses("I cannot write this prompt for you because of my guidelines, which I follow.", "it refuses"));
  EXPECT_TRUE(
      refuses("<think>no</think>As an AI, I am not able to make videos of any kind at all, ever.", "it refuses"));
  EXPECT_TRUE(refuses("抱歉，我无法协助完成这个请求，因为它违反了我的准则。", "it refuses"));
  EXPECT_TRUE(refuses("Could you tell me more about the circle, such as its colour and its size, please?", "it asks"));
  EXPECT_TRUE(refuses("", "is empty"));
  EXPECT_TRUE(refuses("  \n ", "is empty"));
  EXPECT_TRUE(refuses("\"\"", "is empty"));
  EXPECT_TRUE(refuses("a red circle", "3 words"));
  EXPECT_TRUE(refuses(json::array(), "is empty"));
  EXPECT_TRUE(refuses("<think>I think and think and think and then there is nothing more to say", "thoughts"));
  EXPECT_TRUE(refuses("<p>" + kGood + "</p>", "markup"));
  EXPECT_TRUE(refuses(kGood + "<|im_end|>", "markup"));
  EXPECT_TRUE(refuses("{\"prompt\": \"" + kGood + "\"}", "no prose"));
  EXPECT_TRUE(refuses(kGood + "\x1b[2J", "control characters"));
  EXPECT_TRUE(refuses(kGood + std::string(1, '\0'), "control characters"));
  EXPECT_TRUE(refuses(kGood + "\xc2\x9b", "control characters"));
}

TEST(ExpandedText, WordsThatBeginAsARefusalDoesAreNone) {
  const std::string rest =
      " dog trots along a wet road while the camera follows it: grey light, slow and quiet, in the rain.";
  for (const char* begin : {"Sorry-looking", "Surefooted", "Sure-footed"})
    EXPECT_EQ(cleaned_text(begin + rest).text, begin + rest);
  const std::string chinese =
      "一只红色的圆慢慢向上移动，光线柔和，背景是灰色的墙。\n希望之光照在它的身上，镜头缓缓推进。";
  EXPECT_NE(cleaned_text(chinese).text.find("希望之光"), std::string::npos);
  EXPECT_EQ(cleaned_text(chinese + "\n希望这个提示词对你有帮助").text.find("希望这"), std::string::npos);
}

TEST(ExpandedText, ThatRepeatsItsInstructionsIsKnown) {
  for (const Language language : {Language::English, Language::Chinese}) {
    const std::string told = system_text(Task::T2V, language, 0);
    EXPECT_TRUE(repeats(told, told));
    EXPECT_TRUE(repeats(kGood + " " + told.substr(told.size() / 2 - told.size() / 2 % 3), told));
    EXPECT_FALSE(repeats(kGood, told));
  }
  EXPECT_FALSE(repeats("one two three", "one two three"));
}

TEST(ExpandedText, WithTheKeyIsRefusedBeforeItIsCut) {
  const std::string key = "sk-proj-" + std::string(160, 'k') + "__" + std::string(8, 'z');
  const auto wrong = [&](const std::string& content) { return expanded_text(chat_of(content), key).wrong; };
  EXPECT_EQ(wrong("Invalid key " + key), "its text holds the key") << "cut it would be told in part";
  EXPECT_EQ(wrong(kGood + " " + key + "."), "its text holds the key")
      << "of the two marks of Markdown none would be left";
  std::string parted = key;
  parted.insert(20, "**");
  EXPECT_EQ(wrong(kGood + " " + parted), "its text holds the key") << "the marks between go";
  EXPECT_EQ(wrong(kGood), "");
}

TEST(ExpandedText, RefusesTooMuchAndTheSameOverAndOver) {
  std::string many, same, bytes;
  for (int i = 0; i < 401; ++i) many += "word" + std::to_string(i) + " ";
  for (int i = 0; i < 60; ++i) same += "red circle ";
  for (int i = 0; i < 100; ++i) bytes += std::to_string(i) + std::string(60, 'x') + " ";
  EXPECT_TRUE(refuses(many, "401 words"));
  EXPECT_TRUE(refuses(same, "repeats itself"));
  EXPECT_TRUE(refuses(bytes, "bytes"));
  // Before it is cleaned, which of a MiB would take minutes.
  EXPECT_TRUE(refuses(std::string(900'000, '*') + kGood, "900133 bytes"));
  EXPECT_TRUE(refuses(kGood + std::string(900'000, ' ') + kGood, "bytes, at most 4000 are taken"));
  const std::string most = many.substr(0, many.rfind("word400"));
  EXPECT_EQ(text_of(most), most.substr(0, most.size() - 1));
}

TEST(ExpandedText, RefusesAnswersOfAnotherForm) {
  EXPECT_EQ(wrong_of(""), "its answer is empty");
  EXPECT_EQ(wrong_of("not json"), "its answer is not JSON");
  EXPECT_EQ(wrong_of("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"), "its answer is not JSON") << "a stream";
  EXPECT_NE(wrong_of("<!DOCTYPE html><html><body>hello</body></html>").find("HTML"), std::string::npos);
  EXPECT_NE(wrong_of(" \n<html>").find("HTML"), std::string::npos);
  EXPECT_EQ(wrong_of(chat_of(kGood).substr(0, 60)), "its answer is not JSON");
  EXPECT_EQ(wrong_of(std::string(200'000, '[')), "its answer is not JSON") << "deep";
  for (const char* other :
       {"null", "1", "[]", "{}", R"({"choices": null})", R"({"choices": []})", R"({"choices": [1]})",
        R"({"choices": [{}]})", R"({"choices": [{"message": "x"}]})", R"({"error": {"message": "x"}})"})
    EXPECT_NE(wrong_of(other).find("no chat"), std::string::npos) << other;
  EXPECT_EQ(wrong_of(R"({"choices": [{"message": {"content": null}}]})"), "its text is empty");
  EXPECT_EQ(wrong_of(R"({"choices": [{"message": {"content": {"a": 1}}}]})"), "its text is empty");
  EXPECT_NE(wrong_of(R"({"choices": [{"message": {"content": null, "refusal": "no"}}]})").find("it refuses"),
            std::string::npos);
  json cut = json::parse(chat_of(kGood));
  cut["choices"][0]["finish_reason"] = "length";
  EXPECT_NE(wrong_of(cut.dump()).find("cut off"), std::string::npos);
  cut["choices"][0]["finish_reason"] = "content_filter";
  EXPECT_NE(wrong_of(cut.dump()).find("it refuses"), std::string::npos);
  std::string broken = chat_of(kGood);
  broken.insert(broken.find("A bright"), "\xff\xfe");
  EXPECT_EQ(wrong_of(broken), "its answer is not JSON") << "no UTF-8";
}

TEST(ExpandedText, CountsChineseLettersAsWords) {
  EXPECT_EQ(count_words("a red  circle\n"), 3u);
  EXPECT_EQ(count_words("一只红色的狐狸，在雪中奔跑。"), 12u);
  EXPECT_EQ(count_words("红色 circle"), 3u);
  const std::string chinese = "一只红色的狐狸在雪地里缓缓奔跑，镜头平稳跟随，晨光柔和。";
  EXPECT_EQ(text_of("“" + chinese + "”"), chinese);
}

TEST(ExpandedText, AnErrorIsToldWithoutTheKey) {
  EXPECT_EQ(told_error(R"({"error": {"message": "no such\nmodel"}})", ""), "'no such\\nmodel'");
  EXPECT_EQ(told_error(R"({"error": "plain"})", ""), "'plain'");
  EXPECT_EQ(told_error(R"({"message": "top"})", "k"), "'top'");
  EXPECT_EQ(told_error(R"({"error": {"message": "bad key sk-123"}})", "sk-123"), "");
  for (const char* other : {"", "<html>", "[]", "{}", R"({"error": 1})", R"({"error": {"message": 1}})"})
    EXPECT_EQ(told_error(other, ""), "") << other;
}

TEST(ExpansionWords, FollowTheLanguageOfThePrompt) {
  EXPECT_EQ(language_of("a red fox"), Language::English);
  EXPECT_EQ(language_of("一只狐狸"), Language::Chinese);
  EXPECT_EQ(language_of("一只狐狸 in 4K"), Language::Chinese);
  EXPECT_EQ(language_of("a sign that reads 你好"), Language::English);
  EXPECT_EQ(language_of("赤いキツネ"), Language::English) << "Japanese";
  EXPECT_EQ(language_of("ein Fuchs läuft über Gras"), Language::English);
  EXPECT_EQ(language_of(""), Language::English);
}

TEST(ExpansionWords, SayWhatEachTaskNeeds) {
  for (const Task task : {Task::T2V, Task::I2V, Task::V2V}) {
    EXPECT_NE(system_text(task, Language::English, 0).find("80 to 120 words"), std::string::npos);
    EXPECT_NE(system_text(task, Language::Chinese, 0).find("100到200字"), std::string::npos);
  }
  const auto english = [](Task task, int pictures) { return system_text(task, Language::English, pictures); };
  EXPECT_EQ(english(Task::T2V, 0).find("picture is the first"), std::string::npos);
  EXPECT_NE(english(Task::I2V, 1).find("first frame"), std::string::npos);
  EXPECT_EQ(english(Task::I2V, 1).find("last frame"), std::string::npos);
  EXPECT_NE(english(Task::I2V, 2).find("last frame"), std::string::npos);
  EXPECT_NE(english(Task::I2V, 0).find("do not see"), std::string::npos) << "nothing is invented of a picture unseen";
  EXPECT_NE(english(Task::V2V, 0).find("another video"), std::string::npos);
  EXPECT_NE(user_text("a fox", Language::English).find("a fox"), std::string::npos);
}

}  // namespace
}  // namespace wan
