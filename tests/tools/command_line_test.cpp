#include "tools/cli/command_line.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "engine/base/error.h"
#include "engine/request/params.h"
#include "tests/support.h"
#include "tests/support/other_user.h"
#include "tools/cli/dry_run.h"

namespace wan {
namespace {

Command read(std::vector<const char*> words) {
  words.insert(words.begin(), "wan-infer");
  return parse_command_line(int(words.size()), words.data());
}

/// The fields of the errors, "" where there is none.
std::string wrong(const std::vector<const char*>& words) {
  try {
    read(words);
    return "";
  } catch (const InvalidRequest& invalid) {
    std::string text;
    for (const FieldError& error : invalid.errors) text += (text.empty() ? "" : " ") + error.field;
    return text;
  }
}

TEST(CommandLine, AFullRequest) {
  Command command = read({"t2v", "--model", "folder", "--prompt", "a cat", "--num-frames=33", "--guidance-scale-2", "5",
                          "--seed", "7", "--unlocked", "--log-format", "json", "--threads", "3"});
  EXPECT_EQ(command.name, "t2v");
  EXPECT_EQ(command.request.model, "folder");
  EXPECT_EQ(command.request.prompt, "a cat");
  EXPECT_EQ(command.request.num_frames, 33);
  EXPECT_EQ(command.request.guidance_scale_2, 5);
  EXPECT_EQ(command.request.seed, 7);
  EXPECT_TRUE(command.request.unlocked);
  EXPECT_EQ(command.request.out, "t2v-7.mp4");
  EXPECT_EQ(command.log_format, "json");
  EXPECT_EQ(command.threads, 3);
  EXPECT_FALSE(command.dry_run);
}

TEST(CommandLine, TextsArriveAsTheyWereTyped) {
  for (const char* prompt : {"[a, b]", "-1", "--seed", "a=b", "", "{x}", "@file", "\"quoted\"", "batch", "--", "%%"}) {
    Command command = read({"t2v", "--model", "m", "--prompt", prompt});
    EXPECT_EQ(command.request.prompt, prompt);
    const std::string joined = std::string("--prompt=") + prompt;
    EXPECT_EQ(read({"t2v", "--model", "m", joined.c_str()}).request.prompt, prompt);
  }
}

TEST(CommandLine, EveryParameterOfTheTaskIsAFlag) {
  const std::string help = read({"t2v", "--help"}).answer;
  for (const Parameter& parameter : parameters())
    EXPECT_EQ(help.find("  " + parameter.flag() + " ") != std::string::npos ||
                  help.find("  " + parameter.flag() + "\n") != std::string::npos,
              parameter.accepts(Task::T2V) != nullptr)
        << parameter.flag();
  const std::string text = std::regex_replace(help, std::regex("\\s+"), " ");
  EXPECT_NE(text.find("from 17 to 121 frames; unlocked from 1 to 4093. Default 81."), std::string::npos) << text;
  EXPECT_NE(text.find("Default 5; with --preset reference"), std::string::npos);
}

TEST(CommandLine, HelpAndVersionNeedNothingElse) {
  EXPECT_NE(read({"--help"}).answer.find("t2v"), std::string::npos);
  EXPECT_NE(read({"s2v", "-h"}).answer.find("--audio"), std::string::npos);
  EXPECT_TRUE(read({"--version"}).answer.starts_with("wan-infer "));
}

TEST(CommandLine, OtherCommands) {
  Command batch = read({"batch", "list.jsonl", "--model", "m", "--order", "given", "--fail-fast", "--device", "cpu"});
  EXPECT_EQ(batch.input, "list.jsonl");
  EXPECT_EQ(batch.work, "list.jsonl.work");
  EXPECT_EQ(batch.order, "given");
  EXPECT_TRUE(batch.fail_fast);
  EXPECT_EQ(batch.fields, (nlohmann::json{{"model", "m"}, {"device", "cpu"}}));
  EXPECT_EQ(read({"batch", "list.jsonl"}).order, "phases");
  EXPECT_TRUE(read({"batch", "list.jsonl"}).shard.is_whole());
  EXPECT_EQ(read({"batch", "list.jsonl", "--shard=3/8"}).shard.text(), "3/8");
  EXPECT_EQ(read({"check", "batch", "list.jsonl", "--shard", "3/8"}).shard.text(), "3/8");
  EXPECT_TRUE(read({"batch", "list.jsonl", "--report"}).report);
  EXPECT_TRUE(read({"batch", "list.jsonl", "--dry-run"}).dry_run);
  EXPECT_EQ(read({"show", "a.mp4"}).input, "a.mp4");
  EXPECT_EQ(read({"replay", "a.mp4", "--out", "b.mp4"}).fields.at("out"), "b.mp4");
  std::ofstream("face.png") << "x";
  const Command replay = read({"replay", "a.mp4", "--image", "face.png", "--metadata", "minimal", "--anyway"});
  std::filesystem::remove("face.png");
  EXPECT_EQ(replay.fields, (nlohmann::json{{"image_url", "face.png"}, {"metadata", "minimal"}}));
  EXPECT_TRUE(replay.anyway);
  EXPECT_FALSE(read({"decode", "a.latents"}).anyway);
  EXPECT_EQ(read({"decode", "a.latents"}).input, "a.latents");
  EXPECT_EQ(read({"inspect", "folder", "--log-format", "json"}).log_format, "json");
}

TEST(CommandLine, WhatIsWrongIsNamed) {
  EXPECT_EQ(wrong({}), "command");
  EXPECT_EQ(wrong({"tv2"}), "command");
  EXPECT_EQ(wrong({"t2v"}), "prompt model");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt"}), "--prompt");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--seeds", "1", "--foo=3"}), "--seeds --foo");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "stray"}), "argument");
  EXPECT_EQ(wrong({"t2v", "batch", "--model", "m", "--prompt", "x"}), "argument");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--prompt", "y"}), "--prompt");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--threads", "0", "--log-format", "xml"}),
            "log-format threads");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--out", "/no/such/folder/a.mp4"}), "out");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--out", "/"}), "out");
  EXPECT_EQ(wrong({"batch"}), "MANIFEST");
  EXPECT_EQ(wrong({"batch", "a", "b"}), "argument");
  EXPECT_EQ(wrong({"batch", "a", "--device", "tpu"}), "device");
  EXPECT_EQ(wrong({"batch", "a", "--shard", "-1/4", "--order", "none"}), "order shard");
  EXPECT_EQ(wrong({"check", "batch", "a", "--report"}), "--report");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--shard", "0/2"}), "--shard");
  EXPECT_EQ(wrong({"replay", "a.mp4", "--seed", "3"}), "--seed");
  EXPECT_EQ(wrong({"replay", "a.mp4", "--video", "absent.mp4", "--metadata", "some"}), "video_url metadata");
  EXPECT_EQ(wrong({"replay", "a.mp4", "--image", ""}), "image_url");
}

TEST(CommandLine, HeadsAreCapturedIntoAFileOfTheirOwn) {
  const std::vector<const char*> job = {"--model", "m", "--prompt", "x", "--out", "a.mp4"};
  const auto with = [&](const char* task, const char* file) {
    std::vector<const char*> words = {task};
    words.insert(words.end(), job.begin(), job.end());
    words.insert(words.end(), {"--capture-qk", file});
    return words;
  };
  EXPECT_EQ(read(with("t2v", "heads.safetensors")).captured_heads, "heads.safetensors");
  EXPECT_EQ(read({"t2v", "--model", "m", "--prompt", "x"}).captured_heads, "") << "off by default";
  EXPECT_EQ(wrong(with("t2v", "heads.png")), "capture_qk");
  EXPECT_EQ(wrong(with("t2v", "/no/such/folder/heads.safetensors")), "capture_qk");
  const std::string help = read({"t2v", "--help"}).answer;
  EXPECT_NE(help.find("Advanced:\n  --capture-qk FILE.safetensors"), std::string::npos);
  EXPECT_EQ(read({"s2v", "--help"}).answer.find("--capture-qk"), std::string::npos) << "speech keeps none";
}

TEST(CommandLine, AnUnknownFlagNamesTheNearest) {
  auto message = [](const char* flag) {
    try {
      read({"t2v", "--model", "m", "--prompt", "x", flag, "1"});
    } catch (const InvalidRequest& invalid) {
      return std::string(invalid.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("--num-framse"), "[--num-framse] is not a flag of t2v; the nearest is --num-frames");
  EXPECT_EQ(message("--num_frames"), "[--num_frames] is not a flag of t2v; the nearest is --num-frames");
  EXPECT_EQ(message("--strength"), "[--strength] is not a flag of t2v; it belongs to v2v");
  EXPECT_EQ(message("--zzzzzz"), "[--zzzzzz] is not a flag of t2v; wan-infer t2v --help lists them");
  EXPECT_EQ(message("-prompt"), "[-prompt] is not a flag of t2v; the nearest is --prompt");
}

TEST(CommandLine, AFlagThatOtherPlacesHaveSaysWhich) {
  const auto message = [](const std::vector<const char*>& words) {
    try {
      read(words);
    } catch (const InvalidRequest& invalid) {
      return invalid.errors.at(0).line();
    }
    return std::string();
  };
  const std::string all =
      " is not a flag of calibrate t2v; a calibration computes all steps, and guides in all of them";
  for (const char* flag : {"--acceleration", "--guidance-interval"})
    EXPECT_EQ(message({"calibrate", "t2v", "--model", "m", "--out", "c.json", flag, "x"}),
              "[" + std::string(flag) + "]" + all);
  EXPECT_EQ(message({"calibrate", "t2v", "--model", "m", "--out", "c.json", "--zzzzzz"}),
            "[--zzzzzz] is not a flag of calibrate t2v; wan-infer calibrate t2v --help lists them");
  EXPECT_EQ(message({"batch", "a", "--width", "64"}),
            "[--width] is not a flag of batch; a line of the manifest has it, as \"width\"");
  EXPECT_EQ(message({"batch", "a", "--image", "a.png"}),
            "[--image] is not a flag of batch; a line of the manifest has it, as \"image_url\"");
}

TEST(CommandLine, FlagsAboutWhatIsFlaggedNeedACheck) {
  const auto of_render = [](const std::vector<const char*>& more) {
    std::vector<const char*> words = {"t2v", "--model", "m", "--prompt", "x"};
    words.insert(words.end(), more.begin(), more.end());
    return wrong(words);
  };
  EXPECT_EQ(of_render({"--safety-action", "blur", "--safety-threshold", "0.4"}), "safety_threshold safety_action");
  EXPECT_EQ(of_render({"--discard"}), "discard");
  EXPECT_EQ(of_render({"--no-discard"}), "");
  for (const char* check :
       {"--safety-checker=d", "--blocked-words=w", "--enable-output-safety-checker", "--no-enable-safety-checker"})
    EXPECT_EQ(of_render({"--safety-action", "blur", check}), "") << check;
  EXPECT_EQ(wrong({"batch", "a", "--safety-action", "blur"}), "") << "lines may ask for one";
  EXPECT_EQ(wrong({"replay", "a.mp4", "--safety-action", "blur"}), "") << "the video may have been made with one";
}

TEST(CommandLine, HelpOfSubmitIsAboutTheServer) {
  for (const char* task : {"t2v", "i2v", "v2v", "s2v"}) {
    const std::string help = read({"submit", task, "--help"}).answer;
    EXPECT_NE(help.find("--server URL"), std::string::npos) << task;
    for (const char* local : {"--dry-run", "--preset", "--blocked-words", "--safety-checker", "told by"})
      EXPECT_EQ(help.find(local), std::string::npos) << task << " " << local;
  }
  try {
    read({"submit", "t2v", "--server", "http://127.0.0.1:1", "--prompt", "x", "--zzzzzz", "1"});
    FAIL() << "an unknown flag is taken";
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(), "[--zzzzzz] is not a flag of submit t2v; wan-infer submit t2v --help lists them");
  }
}

TEST(CommandLine, APlanIsForThisMachineOrADescribedOne) {
  const Command here = read({"plan", "t2v", "--model", "m", "--prompt", "x"});
  EXPECT_TRUE(here.plan);
  EXPECT_FALSE(here.check);
  EXPECT_TRUE(here.is_render());
  EXPECT_FALSE(here.machine.any());
  const Command other = read({"plan", "i2v", "--model", "m", "--prompt", "x", "--image", "http://127.0.0.1/a.png",
                              "--gpu", "24GB", "--host", "32GB", "--link", "25GB/s", "--disk=3GB/s", "--json"});
  EXPECT_EQ(other.machine.gpu, "24GB");
  EXPECT_EQ(other.machine.host, "32GB");
  EXPECT_EQ(other.machine.link, "25GB/s");
  EXPECT_EQ(other.machine.disk, "3GB/s");
  EXPECT_TRUE(other.json);
  EXPECT_EQ(
      wrong({"plan", "t2v", "--model", "m", "--prompt", "x", "--gpu", "0GB", "--link", "0GB/s", "--num-frames", "0"}),
      "gpu link num_frames");
  EXPECT_EQ(wrong({"plan", "batch", "a"}), "command");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--gpu", "24GB"}), "--gpu");
  EXPECT_FALSE(read({"t2v", "--model", "m", "--prompt", "x"}).plan);
}

TEST(CommandLine, CalibrateWritesNoVideo) {
  const TemporaryFolder folder;
  const std::string out = folder / "c.json", prompts = folder / "p.txt";
  std::ofstream(prompts) << "a cat\n";
  const Command own = read({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), "--num-inference-steps", "20"});
  EXPECT_TRUE(own.calibrate);
  EXPECT_EQ(own.output, out);
  EXPECT_EQ(own.request.prompt, "");
  EXPECT_EQ(own.request.num_inference_steps, 20);
  const Command given = read({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), "--prompts", prompts.c_str()});
  EXPECT_EQ(given.prompts, prompts);
  EXPECT_TRUE(read({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), "--fresh"}).fresh);
  EXPECT_EQ(wrong({"calibrate", "t2v", "--model", "m"}), "out");
  EXPECT_EQ(wrong({"calibrate", "t2v", "--model", "m", "--out", "a.mp4"}), "out");
  EXPECT_EQ(wrong({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), "--prompts", "absent.txt"}), "prompts");
  EXPECT_EQ(
      wrong({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), "--prompts", prompts.c_str(), "--prompt", "x"}),
      "prompt");
  EXPECT_EQ(wrong({"calibrate", "i2v", "--model", "m", "--out", out.c_str(), "--image", "http://127.0.0.1/a.png"}),
            "prompt")
      << "no prompt of ours fits a picture";
  for (const char* flag : {"--acceleration=none", "--guidance-interval=0:1", "--contact-sheet=a.png", "--dry-run",
                           "--interpolator-model=none", "--metadata=none"})
    EXPECT_EQ(wrong({"calibrate", "t2v", "--model", "m", "--out", out.c_str(), flag}),
              std::string(flag).substr(0, std::string(flag).find('=')));
  EXPECT_EQ(wrong({"calibrate", "batch", "a"}), "command");
  EXPECT_EQ(wrong({"t2v", "--model", "m", "--prompt", "x", "--prompts", prompts.c_str()}), "--prompts");
}

TEST(CommandLine, DryRunListsWhatIsReused) {
  const Command command =
      read({"t2v", "--prompt", "x", "--dry-run", "--acceleration", "regular", "--num-inference-steps", "27"});
  const std::string text = dry_run_text(command.request);
  EXPECT_NE(text.find("expert  guidance         reused\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  both\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  -\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("mapped by noise level"), std::string::npos) << "published ratios are made for it: " << text;
  EXPECT_NE(text.find("\nacceleration: 14 of 54 forwards reuse a residual, at most 2 in a row, while the sum of their "
                      "errors stays below 0.06; ratios: published for Wan 2.2 T2V A14B (MagCache)\n"),
            std::string::npos)
      << text;
  const nlohmann::json json = nlohmann::json::parse(dry_run_json(command.request));
  EXPECT_EQ(json.at("acceleration").at("reused_forwards"), 14);
  EXPECT_EQ(json.at("acceleration").at("bound"), 0.06);
  EXPECT_EQ(json.at("steps").at(5).at("reused"), (nlohmann::json{"conditional", "unconditional"}));
  EXPECT_EQ(json.at("steps").at(0).at("reused"), nlohmann::json::array());
  const Command few =
      read({"t2v", "--prompt", "x", "--dry-run", "--acceleration", "regular", "--num-inference-steps", "8"});
  EXPECT_NE(dry_run_text(few.request).find("acceleration: regular reuses nothing: the run makes 8 steps"),
            std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(dry_run_json(few.request)).at("acceleration").at("reused_forwards"), 0);
  const Command none = read({"t2v", "--prompt", "x", "--dry-run"});
  EXPECT_EQ(dry_run_text(none.request).find("reused"), std::string::npos);
  EXPECT_FALSE(nlohmann::json::parse(dry_run_json(none.request)).contains("acceleration"));
}

TEST(CommandLine, DryRunHasTheFramesThatAreDrawn) {
  const Command command =
      read({"t2v", "--prompt", "x", "--dry-run", "--interpolator-model", "film", "--num-interpolated-frames", "2"});
  const std::string line =
      "\nfilm, 2 frames between each two: 81 frames at 16 fps, 5.06 s -> 241 frames at 48 fps, 5.02 s\n";
  EXPECT_NE(dry_run_text(command.request).find(line), std::string::npos) << dry_run_text(command.request);
  const nlohmann::json chain = nlohmann::json::parse(dry_run_json(command.request)).at("chain");
  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(chain[0].at("frames"), 81);
  EXPECT_EQ(chain[1].at("step"), "film");
  EXPECT_EQ(chain[1].at("frames"), 241);
  EXPECT_EQ(chain[1].at("rate"), "48");
  const Command none = read({"t2v", "--prompt", "x", "--dry-run"});
  EXPECT_EQ(dry_run_text(none.request).find("between each two"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(dry_run_json(none.request)).at("chain").size(), 1u);
}

TEST(CommandLine, DryRunSaysWhatIsLookedAt) {
  Request request = read({"t2v", "--prompt", "x", "--dry-run"}).request;
  EXPECT_EQ(dry_run_text(request).find("safety: "), std::string::npos);
  request.enable_safety_checker = request.enable_output_safety_checker = true;
  request.safety_threshold = 0.75;
  EXPECT_NE(dry_run_text(request).find("\nsafety: inputs and frames, refuse above 0.75\n"), std::string::npos)
      << dry_run_text(request);
}

TEST(CommandLine, DryRunTellsAnIntervalInWhichNoStepLies) {
  const Command nowhere = read({"t2v", "--prompt", "x", "--dry-run", "--guidance-interval", "0.001:0.002"});
  const std::string text = dry_run_text(nowhere.request);
  EXPECT_NE(text.find("guidance_interval: it has the noise level of no step"), std::string::npos) << text;
  EXPECT_EQ(nlohmann::json::parse(dry_run_json(nowhere.request)).at("notes").at(0).at("subject"), "guidance_interval");
  const Command some = read({"t2v", "--prompt", "x", "--dry-run", "--guidance-interval", "0.3:0.95"});
  EXPECT_EQ(dry_run_text(some.request).find("of no step"), std::string::npos);
}

TEST(CommandLine, DryRunNeedsNoModel) {
  Command command = read({"t2v", "--prompt", "x", "--dry-run", "--seed", "1", "--solver", "dpm++",
                          "--num-inference-steps", "4", "--num-frames", "20"});
  EXPECT_TRUE(command.dry_run);
  EXPECT_EQ(dry_run_text(command.request),
            "t2v  1280x720, 20 frames (21 rendered) at 16 fps, 1.25 s\n"
            "seed 1, dpm++, shift 5, boundary 0.875\n"
            "\n"
            " step        t     sigma  expert  guidance\n"
            "    0     1000  1.000000  high         3.5\n"
            "    1      937  0.937500  high         3.5\n"
            "    2      833  0.833333  low            4\n"
            "    3      625  0.625000  low            4\n");
  nlohmann::json table = nlohmann::json::parse(dry_run_json(command.request));
  EXPECT_EQ(table.at("rendered_frames"), 21);
  EXPECT_EQ(table.at("steps").size(), 4u);
  EXPECT_EQ(table.at("steps")[1].at("expert"), "high");
  EXPECT_EQ(table.at("request").at("width"), 1280);
}

TEST(CommandLine, DryRunHasTheScaleOfEachLoraInEachStep) {
  Request request = read({"t2v", "--prompt", "x", "--dry-run", "--seed", "1", "--preset", "lightning4"}).request;
  request.loras = {{"a.safetensors", {0, 1}, "high"}, {"b.safetensors", {0.5}, "both"}};
  const std::string text = dry_run_text(request);
  for (const char* row :
       {"guidance  lora\n", "high           1  0 0.5\n", "high           1  1 0.5\n", "low            1  - 0.5\n"})
    EXPECT_NE(text.find(row), text.npos) << text;
  const nlohmann::json table = nlohmann::json::parse(dry_run_json(request));
  EXPECT_EQ(table.at("steps")[1].at("loras"), (nlohmann::json{1, 0.5}));
  EXPECT_EQ(table.at("steps")[2].at("loras"), (nlohmann::json{nullptr, 0.5}));
}

TEST(CommandLine, DryRunKnowsTheExpertOfALoraByItsNameOrItsKeys) {
  const TemporaryFolder folder;
  const std::string header =
      R"({"transformer_2.blocks.0.attn1.to_q.lora_A.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const uint64_t length = header.size();
  std::ofstream file(folder / "style.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << header << std::string(4, '\0');
  file.close();
  Request request = read({"t2v", "--prompt", "x", "--dry-run", "--seed", "1", "--preset", "lightning4"}).request;
  request.loras = {{"a_high_noise.safetensors", {1}, ""}, {(folder / "style.safetensors").string(), {0.5}, ""}};
  const std::string text = dry_run_text(request);
  EXPECT_NE(text.find("high           1  1 -\n"), text.npos) << text;
  EXPECT_NE(text.find("low            1  - 0.5\n"), text.npos) << text;
  const nlohmann::json table = nlohmann::json::parse(dry_run_json(request));
  EXPECT_EQ(table.at("steps")[0].at("loras"), (nlohmann::json{1, nullptr}));
  EXPECT_EQ(table.at("steps")[3].at("loras"), (nlohmann::json{nullptr, 0.5}));

  const auto refusal = [&] {
    std::string lines[2];
    try {
      dry_run_text(request);
    } catch (const InvalidRequest& invalid) {
      lines[0] = invalid.errors.at(0).line();
    }
    try {
      dry_run_json(request);
    } catch (const InvalidRequest& invalid) {
      lines[1] = invalid.errors.at(0).line();
    }
    EXPECT_EQ(lines[0], lines[1]);
    return lines[0];
  };
  request.loras = {{"a_high_noise.safetensors", {1, 0.5, 0}, ""}};
  EXPECT_NE(refusal().find("no more scales than the high-noise expert makes steps (2)"), std::string::npos)
      << refusal();
  request.loras = {{"style.safetensors", {1}, ""}};
  EXPECT_NE(refusal().find("says neither high nor low noise; write FILE@high"), std::string::npos) << refusal();
}

TEST(CommandLine, AMissingLoraIsNoUrlAndTellsWhatItsExpertMayBe) {
  const auto said = [](const char* lora) {
    try {
      read({"t2v", "--model", "m", "--prompt", "x", "--lora", lora});
    } catch (const InvalidRequest& invalid) {
      return invalid.errors.at(0).line();
    }
    return std::string();
  };
  EXPECT_EQ(said("none.safetensors").find("URL"), std::string::npos) << said("none.safetensors");
  EXPECT_NE(said("none.safetensors@HIGH").find("lower case, @high"), std::string::npos)
      << said("none.safetensors@HIGH");
  const std::string experts = "high, low or both (@high, @low, @both), got 'bogus'";
  for (const char* lora : {"none.safetensors@bogus", "/dev/null@bogus", "none.safetensors@bogus:0.5"})
    EXPECT_NE(said(lora).find(experts), std::string::npos) << said(lora);
  for (const char* lora : {"none.safetensors", "none@v2.safetensors", "folder@x/none", "/dev/null@bogus/none"})
    EXPECT_EQ(said(lora).find("@high"), std::string::npos) << said(lora);
  for (const auto& [lora, hint] : {std::pair("none.safetensors@both:0.5", "write FILE:0.5@both"),
                                   {"none.safetensors@HIGH:1,0.5", "write FILE:1,0.5@high"},
                                   {"none:abc", "FILE[:SCALE][@high|low|both]"},
                                   {"none:abc", "behind : came 'abc', which is no scale"},
                                   {"none:", "FILE[:SCALE][@high|low|both]"},
                                   {"none:1,,2", "behind : came '1,,2', which is no scale"},
                                   {"none:0.5:0.7@high", "behind : came '0.5', beside the scale 0.7"}})
    EXPECT_NE(said(lora).find(hint), std::string::npos) << said(lora);
  const TemporaryFolder folder;
  const std::string weird = (folder / "weird_high:1").string();
  std::ofstream(weird) << "x";
  EXPECT_NE(said(weird.c_str()).find("weird_high:1:1' for the file"), std::string::npos) << said(weird.c_str());
  EXPECT_EQ(said((weird + ":1").c_str()), "");
  const std::string closed = (folder / "closed.safetensors").string();
  std::ofstream(closed) << "x";
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all | std::filesystem::perms::others_exec);
  std::filesystem::permissions(closed, std::filesystem::perms::none);
  if (const auto line = as_other_user([&] { return said(closed.c_str()); })) {
    EXPECT_NE(line->find("Permission denied; give yourself the right to read it (chmod u+rX)"), line->npos) << *line;
  }
  EXPECT_NE(said("/dev/null:nan").find("nan"), std::string::npos) << said("/dev/null:nan");
}

}  // namespace
}  // namespace wan
