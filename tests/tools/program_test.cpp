// The built program from a prompt to a file, as a user runs it: what it leaves behind when all goes well and when not.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "models/weights/checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/interpolators.h"
#include "tests/support/safety_checkers.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

using Words = std::vector<std::string>;

/// The smallest and quickest job there is, with more words after it.
Words job(const Words& more = {}) {
  Words words = {"t2v",
                 "--model",
                 kNano,
                 "--prompt",
                 "a red circle moves up",
                 "--width",
                 "32",
                 "--height",
                 "32",
                 "--num-frames",
                 "17",
                 "--num-inference-steps",
                 "2",
                 "--seed",
                 "42",
                 "--device",
                 "cpu",
                 "--threads",
                 "1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Replaces the word after `flag`.
Words with(Words words, const std::string& flag, const std::string& value) {
  *(std::find(words.begin(), words.end(), flag) + 1) = value;
  return words;
}

class Program : public testing::Test {
 protected:
  Outcome run(const Words& words, const Limits& limits = {}) {
    return Process("wan-infer", words, folder.path(), limits).finish();
  }
  /// Everything in the folder but what was put there.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::filesystem::path at(const std::string& name) const { return folder / name; }
  /// The only latents that a work folder keeps, as the command line names them.
  std::string latents_in(const std::string& work) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder / work))
      if (entry.path().filename().string().ends_with(".latents.safetensors"))
        return work + "/" + entry.path().filename().string();
    return "no latents in " + work;
  }
  void expect_survives(const Words& words, const std::vector<int>& delays_ms);

  TemporaryFolder folder;
};

/// Exactly one line for the user, which begins as every error does.
void expect_one_line(const Outcome& run, const std::string& part) {
  std::istringstream lines(run.err);
  int errors = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("wan-infer: ")) continue;
    ++errors;
    EXPECT_NE(line.find(part), std::string::npos) << line;
  }
  EXPECT_EQ(errors, 1) << run.err;
}

TEST_F(Program, EqualRequestsGiveEqualFiles) {
  EXPECT_EQ(run(job({"--out", "a.mp4"})).code, 0);
  EXPECT_EQ(run(job({"--out", "b.mp4"})).code, 0);
  EXPECT_EQ(run(with(job({"--out", "c.mp4"}), "--seed", "43")).code, 0);
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4", "b.mp4", "c.mp4"}));
  EXPECT_EQ(run(with(job({"--out", "d.mp4"}), "--threads", "2")).code, 0);
  EXPECT_TRUE(content(at("a.mp4")) == content(at("d.mp4")));
  EXPECT_FALSE(content(at("a.mp4")).empty());
  EXPECT_TRUE(content(at("a.mp4")) == content(at("b.mp4")));
  EXPECT_FALSE(content(at("a.mp4")) == content(at("c.mp4")));
}

TEST_F(Program, PromptsAreCountedToTheirEnd) {
  const std::string err = run(job({"--out", "a.mp4"})).err;
  EXPECT_EQ(err.find("encode 0/"), err.rfind("encode 0/")) << err;
  EXPECT_NE(err.find("encode 2/2"), std::string::npos) << err;
}

TEST_F(Program, AVideoTellsItsRequestAndIsMadeAgainFromIt) {
  ASSERT_EQ(run(job({"--out", "a.mp4"})).code, 0);
  Outcome shown = run({"show", "a.mp4"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  nlohmann::json request = nlohmann::json::parse(shown.out)["request"];
  EXPECT_EQ(request["prompt"], "a red circle moves up");
  EXPECT_EQ(request["seed"], 42);
  EXPECT_EQ(request["num_inference_steps"], 2);
  EXPECT_EQ(request["model"], "Wan2.2-T2V-A14B-nano");
  EXPECT_EQ(shown.out.find(WAN_SOURCE_DIR), std::string::npos);

  const Outcome unknown = run({"replay", "a.mp4"});
  EXPECT_EQ(unknown.code, 2);
  expect_one_line(unknown, "--model DIR gives it");
  EXPECT_EQ(run({"replay", "a.mp4", "--threads", "1", "--model", kNano}).code, 0);
  EXPECT_TRUE(content(at("a.mp4")) == content(at("a-replay.mp4")));
  std::ofstream(at("c.json")) << "{}";
  expect_one_line(run({"replay", "a.mp4", "--model", kNano, "--calibration", "c.json", "--out", "b.mp4"}),
                  "[--calibration] must be left out: the video was made without --acceleration regular");
}

TEST_F(Program, AReplayNeedsNoListOfBlockedWords) {
  std::ofstream(at("words.txt")) << "square\n";
  ASSERT_EQ(run(job({"--out", "a.mp4", "--blocked-words", "words.txt"})).code, 0);
  const Outcome again = run({"replay", "a.mp4", "--threads", "1", "--model", kNano});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("replay: the prompt is not looked at"), std::string::npos) << again.err;
  const Outcome refused =
      run(with(job({"--out", "b.mp4", "--blocked-words", "words.txt"}), "--prompt", "a red Square"));
  EXPECT_EQ(refused.code, 5);
  expect_one_line(refused, "[--prompt] must have no blocked word, has 'square'");
}

TEST_F(Program, AReplayTellsAnotherSafetyCheckerUnlessOneIsNamed) {
  write_safety_checker(at("checker"), Flags::Nothing);
  ASSERT_EQ(run(job({"--out", "a.mp4", "--safety-checker", "checker"})).code, 0);
  write_safety_checker(at("checker"), Flags::Nothing, {{"_name_or_path", "another"}});
  const auto replayed = [&](const std::string& flag, const std::string& value) {
    return run({"replay", "a.mp4", "--model", kNano, "--threads", "1", flag, value});
  };
  for (const Outcome& other : {replayed("--safety-action", "flag"), replayed("--safety-threshold", "0.6")}) {
    EXPECT_EQ(other.code, 3) << other.err;
    expect_one_line(other, "[checker/config.json] must be as recorded");
  }
  const Outcome named = replayed("--safety-checker", "checker");
  EXPECT_EQ(named.code, 0) << named.err;

  ASSERT_EQ(run(job({"--out", "b.mp4"})).code, 0);
  const Outcome idle = run({"replay", "b.mp4", "--model", kNano, "--safety-action", "flag"});
  EXPECT_EQ(idle.code, 2);
  expect_one_line(idle, "[--safety-action] must be left out: the video was made without a check");
}

TEST_F(Program, ADecodeThatStoppedIsFinishedFromItsLatents) {
  const Words words = with(job({"--out", "a.mp4"}), "--num-frames", "81");
  ASSERT_EQ(run(with(words, "--out", "whole.mp4")).code, 0);
  Process stopped("wan-infer", words, folder.path());
  ASSERT_TRUE(stopped.wait_for("decode 3/"));
  stopped.signal(SIGINT);
  const Outcome kept = stopped.finish();
  EXPECT_EQ(kept.code, 130);
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4.work", "whole.mp4"}));
  const std::string latents = latents_in("a.mp4.work");
  EXPECT_NE(kept.err.find("wan-infer decode " + latents + " --model DIR/nano/Wan2.2-T2V-A14B-nano --out a.mp4"),
            std::string::npos)
      << kept.err;

  Outcome full = run({"decode", latents, "--threads", "1", "--model", kNano}, {.file_bytes = 2048});
  EXPECT_EQ(full.code, 1);
  expect_one_line(full, "a.mp4");
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4.work", "whole.mp4"}));

  const Outcome silent = run({"decode", latents, "--threads", "1", "--model", kNano, "--video", "whole.mp4"});
  EXPECT_EQ(silent.code, 2);
  expect_one_line(silent,
                  "[--video] must be left out: it is about the sound of an input video, and these latents are "
                  "of t2v, which takes none");

  Outcome finished = run({"decode", latents, "--threads", "1", "--model", kNano});
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_TRUE(content(at("a.mp4")) == content(at("whole.mp4")));
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4", "whole.mp4"}));
}

TEST_F(Program, FramesAreDrawnIntoLatentsAndVideosThatAreThere) {
  write_interpolator(at("flownet.safetensors"), "rife");
  write_interpolator(at("film.safetensors"), "film");
  Process stopped("wan-infer", with(job({"--out", "a.mp4"}), "--num-frames", "81"), folder.path());
  ASSERT_TRUE(stopped.wait_for("decode 3/"));
  stopped.signal(SIGINT);
  ASSERT_EQ(stopped.finish().code, 130);
  const Words rife = {"--interpolator-model", "rife", "--interpolator", "flownet.safetensors"};
  const auto joined = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const Words latents = {"decode", latents_in("a.mp4.work"), "--threads", "1", "--model", kNano};
  const Outcome decoded = run(joined(joined(latents, rife), {"--num-interpolated-frames", "2"}));
  ASSERT_EQ(decoded.code, 0) << decoded.err;
  const nlohmann::json said = nlohmann::json::parse(run({"show", "a.mp4"}).out);
  EXPECT_EQ(said["request"]["num_interpolated_frames"], 2);

  const Outcome other = run({"replay", "a.mp4", "--model", kNano, "--interpolator", "film.safetensors", "--anyway"});
  EXPECT_EQ(other.code, 3);
  expect_one_line(other, "must be the weights of RIFE");
  const Outcome same = run({"replay", "a.mp4", "--model", kNano, "--interpolator", "film.safetensors"});
  EXPECT_EQ(same.err.find("--anyway"), std::string::npos) << same.err;

  const Outcome bare = run({"finish", "a.mp4"});
  EXPECT_EQ(bare.code, 2);
  for (const char* line : {"[--out] is required; give it with --out FILE\n",
                           "[--interpolator-model] is required; give it with --interpolator-model film|rife\n"})
    EXPECT_NE(bare.err.find(line), std::string::npos) << bare.err;
  const Outcome itself = run(joined({"finish", "a.mp4", "--out", "a.mp4", "--overwrite"}, rife));
  EXPECT_EQ(itself.code, 2);
  expect_one_line(itself, "[--out] must be another file than IN, got ");
  expect_one_line(run(joined({"finish", "absent.mp4", "--out", "b.mp4"}, rife)), "[IN] ");
  std::ofstream(at("text.mp4")) << "no video";
  expect_one_line(run(joined({"finish", "text.mp4", "--out", "b.mp4"}, rife)), "[IN] ");
  expect_one_line(run(joined({"finish", "a.mp4", "--out", "b.mp4", "--num-interpolated-frames", "0"}, rife)),
                  "nothing to finish");
  const Outcome none = run({"finish", "a.mp4", "--out", "b.mp4", "--interpolator-model", "film"});
  expect_one_line(none, "[--interpolator] ");
  EXPECT_EQ(none.err.find("does without"), std::string::npos) << none.err;
  const Words finish = joined({"finish", "a.mp4", "--out", "b.mp4", "--threads", "1"}, rife);
  ASSERT_EQ(run(finish).code, 0);
  expect_one_line(run(finish), "[--out] must not be there already");
  std::filesystem::copy(at("flownet.safetensors"), at("cut.safetensors"));
  std::filesystem::resize_file(at("cut.safetensors"), 1'000'000);
  const Outcome cut =
      run({"finish", "a.mp4", "--out", "c.mp4", "--interpolator-model", "rife", "--interpolator", "cut.safetensors"});
  EXPECT_EQ(cut.code, 3);
  expect_one_line(cut, "cut.safetensors");
  const Outcome again =
      run({"replay", "b.mp4", "--model", kNano, "--interpolator", "film.safetensors", "--out", "c.mp4"});
  EXPECT_NE(again.err.find("(wan-infer finish): that is not done again"), std::string::npos) << again.err;
  const std::string help = run({"finish", "--help"}).out;
  EXPECT_NE(help.find("The video that is written. Required."), std::string::npos) << help;
  EXPECT_NE(help.find("between those of IN. Required."), std::string::npos) << help;
  EXPECT_NE(help.find("--interpolator-model film|rife\n"), std::string::npos) << help;
  EXPECT_NE(help.find("from 1 to 4. Default 1."), std::string::npos) << help;
}

TEST_F(Program, CtrlCKeepsTheStepsAndTheSameCommandGoesOn) {
  const Words words = with(job({"--out", "a.mp4"}), "--num-inference-steps", "40");
  ASSERT_EQ(run(with(words, "--out", "whole.mp4")).code, 0);
  Process process("wan-infer", words, folder.path());
  ASSERT_TRUE(process.wait_for("denoise 4/"));
  process.signal(SIGINT);
  Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 130);
  expect_one_line(stopped, "[stop]");
  expect_one_line(stopped, "the same command goes on");
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4.work", "whole.mp4"}));

  const Outcome other = run(with(words, "--seed", "43"));
  EXPECT_EQ(other.code, 2);
  expect_one_line(other, "--fresh");
  const Outcome finished = run(with(words, "--threads", "3"));
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_EQ(finished.err.find("denoise 0/"), std::string::npos) << "from the start";
  const size_t told = finished.err.find("resume out=a.mp4 text=\"goes on from step ");
  EXPECT_LT(told, finished.err.find("denoise ")) << finished.err;
  EXPECT_EQ(finished.err.find("goes on from", told + 50), std::string::npos) << "once\n" << finished.err;
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4", "whole.mp4"}));
  EXPECT_TRUE(content(at("a.mp4")) == content(at("whole.mp4")));
}

TEST_F(Program, AWrongNumberOfThreadsInTheEnvironmentIsToldInOurWords) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before ? before : "";
  for (const char* value : {"abc", "0", "-1"}) {
    setenv("OMP_NUM_THREADS", value, 1);
    const Outcome wrong = run(job({"--out", "a.mp4"}));
    EXPECT_EQ(wrong.code, 2);
    EXPECT_EQ(wrong.err,
              "wan-infer: [OMP_NUM_THREADS] must be a whole number from 1 on, or several with commas "
              "between, got '" +
                  std::string(value) + "'; unset it, and --threads N sets the number\n");
  }
  setenv("OMP_NUM_THREADS", "", 1);
  const Outcome empty = run(job({"--out", "a.mp4"}));
  before ? setenv("OMP_NUM_THREADS", kept.c_str(), 1) : unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(empty.code, 0) << empty.err;
  EXPECT_EQ(empty.err.find("libgomp"), std::string::npos) << empty.err;
}

TEST_F(Program, TheNumberOfThreadsChangesNoByte) {
  for (const char* threads : {"1", "3", "16"})
    ASSERT_EQ(run(with(job({"--out", threads + std::string(".mp4")}), "--threads", threads)).code, 0);
  EXPECT_TRUE(content(at("1.mp4")) == content(at("3.mp4")));
  EXPECT_TRUE(content(at("1.mp4")) == content(at("16.mp4")));
}

TEST_F(Program, EachSignalHasItsCodeAndItsLine) {
  const Words words = with(job({"--out", "a.mp4"}), "--num-inference-steps", "40");
  for (const auto& [signal, text] :
       std::map<int, std::string>{{SIGTERM, "[stop] terminated"}, {SIGHUP, "[stop] the terminal was closed"}}) {
    Process process("wan-infer", words, folder.path());
    ASSERT_TRUE(process.wait_for("denoise "));
    process.signal(signal);
    const Outcome stopped = process.finish();
    EXPECT_EQ(stopped.code, 128 + signal);
    expect_one_line(stopped, text);
    expect_one_line(stopped, "the same command goes on");
  }
}

// As GNU timeout sends them: to the program, and then to its group.
TEST_F(Program, TwoEqualSignalsAtOnceAreOne) {
  const Words words = with(job({"--out", "a.mp4"}), "--num-inference-steps", "40");
  for (int signal : {SIGINT, SIGTERM}) {
    Process process("wan-infer", words, folder.path());
    ASSERT_TRUE(process.wait_for("denoise "));
    process.signal(signal);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    process.signal(signal);
    const Outcome stopped = process.finish();
    EXPECT_EQ(stopped.code, 128 + signal);
    expect_one_line(stopped, "the same command goes on");
  }
}

TEST_F(Program, ASignalWhileLibtorchLoadsIsToldToo) {
  Process process("wan-infer", job({"--out", "a.mp4"}), folder.path());
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  process.signal(SIGTERM);
  const Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 128 + SIGTERM);
  expect_one_line(stopped, "nothing is kept");
  EXPECT_EQ(files(), Words{});
}

TEST_F(Program, CheckLooksAndLeavesNothing) {
  Words words = job({"--out", "a.mp4"});
  words.insert(words.begin(), "check");
  const Outcome fits = run(words);
  EXPECT_EQ(fits.code, 0) << fits.err;
  EXPECT_EQ(fits.out, "a.mp4: fits\n");
  const Outcome told = run(with(words, "--prompt", "a (red:1.5) circle"));
  EXPECT_EQ(told.out,
            "a.mp4: fits\n  note [--prompt] it has '(red:1.5)', a notation of other programs: it is read as "
            "words; write it as a sentence\n");
  const Outcome two = run(with(words, "--prompt", "a ((red)) circle --ar 16:9"));
  EXPECT_EQ(two.out,
            "a.mp4: fits\n  note [--prompt] it has '((red))' and '--ar', notations of other programs: they are read as "
            "words; write it as a sentence\n");
  const Outcome eight = run(
      with(words, "--prompt", "((masterpiece)), (red:1.5) {a|b} [c|d] __e__ <lora:f:1> BREAK embedding:g --ar 1:1"));
  EXPECT_EQ(eight.out,
            "a.mp4: fits\n  note [--prompt] it has '(red:1.5)', '((masterpiece))' and 7 more, notations of other "
            "programs: they are read as words; write it as a sentence\n");
  EXPECT_EQ(files(), Words{});

  std::ofstream(at("a.mp4")) << "another";
  words.push_back("--json");
  const Outcome taken = run(words);
  EXPECT_EQ(taken.code, 2);
  const nlohmann::json found = nlohmann::json::parse(taken.out);
  EXPECT_EQ(found["fits"], false);
  EXPECT_EQ(found["jobs"][0]["errors"][0]["field"], "out");
}

TEST_F(Program, CheckOfABatchNamesEachJob) {
  std::ofstream(at("list.jsonl"))
      << R"({"task": "t2v", "prompt": "x", "out": "a.mp4", "unlocked": true, "width": 64, "height": 64})"
      << "\n"
      << R"({"task": "t2v", "prompt": "x", "out": "b.mp4", "model": "absent"})"
      << "\n";
  const Outcome found = run({"check", "batch", "list.jsonl", "--model", kNano});
  EXPECT_EQ(found.code, 3) << found.out << found.err;
  EXPECT_TRUE(found.out.starts_with("line 1 a.mp4: fits\nline 2 b.mp4: cannot run\n  [")) << found.out;
  EXPECT_EQ(files(), Words{"list.jsonl"});
}

TEST_F(Program, CheckOfABatchWithTwoModels) {
  std::filesystem::copy(kNano, at("other"), std::filesystem::copy_options::recursive);
  std::ofstream(at("list.jsonl"))
      << R"({"task": "t2v", "prompt": "x", "out": "a.mp4", "unlocked": true, "width": 64, "height": 64})"
      << "\n"
      << R"({"task": "t2v", "prompt": "x", "out": "b.mp4", "model": "other", "unlocked": true, "width": 64, "height": 64})"
      << "\n";
  const Outcome found = run({"check", "batch", "list.jsonl", "--model", kNano});
  EXPECT_EQ(found.code, 0) << found.out << found.err;
  EXPECT_EQ(found.out, "line 1 a.mp4: fits\nline 2 b.mp4: fits\n");
}

TEST_F(Program, NotesOfABatchNameTheirLine) {
  std::ofstream(at("list.jsonl"))
      << R"({"task": "t2v", "prompt": "x", "out": "a.mp4", "unlocked": true, "width": 32, "height": 32, "num_frames": 1})"
      << "\n"
      << R"({"task": "t2v", "prompt": "a (red:1.5) car", "out": "b.mp4", "width": 32, "height": 32, "num_frames": 1, )"
      << R"("unlocked": true, "num_inference_steps": 1, "device": "cpu"})"
      << "\n";
  const Outcome found = run({"check", "batch", "list.jsonl", "--model", kNano, "--json"});
  EXPECT_EQ(found.code, 0) << found.out << found.err;
  const nlohmann::json jobs = nlohmann::json::parse(found.out)["jobs"];
  EXPECT_EQ(jobs[0]["notes"].size(), 0u);
  EXPECT_EQ(jobs[1]["line"], 2);
  EXPECT_EQ(jobs[1]["notes"][0]["subject"], "prompt");
  const Outcome rendered = run({"batch", "list.jsonl", "--model", kNano, "--threads", "1"});
  EXPECT_NE(rendered.err.find("note [line 2, prompt] it has '(red:1.5)'"), std::string::npos) << rendered.err;
}

TEST_F(Program, ATooShortSoundIsRefusedByCheck) {
  const std::filesystem::path media = WAN_SOURCE_DIR "/tests/golden/media";
  std::string sound = "RIFF____WAVEfmt ";
  const auto number = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) sound += char(value >> (8 * i));
  };
  constexpr uint32_t kRate = 16000, kSamples = 100;  // 6 ms
  number(16, 4), number(1, 2), number(1, 2), number(kRate, 4), number(2 * kRate, 4), number(2, 2), number(16, 2);
  sound += "data";
  number(2 * kSamples, 4);
  for (uint32_t i = 0; i < kSamples; ++i) number(i * 300, 2);
  std::ofstream(at("short.wav"), std::ios::binary) << sound;
  const Outcome refused =
      run({"check", "s2v", "--model", WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-S2V-14B", "--prompt", "x",
           "--image", kNano.parent_path() / "demo.png", "--audio", "short.wav", "--device", "cpu", "--threads", "1"});
  EXPECT_EQ(refused.code, 2) << refused.out << refused.err;
  EXPECT_NE(refused.out.find("[--audio] "), std::string::npos) << refused.out;
  EXPECT_EQ(files(), Words{"short.wav"});
}

TEST_F(Program, FreshDropsWhatIsKept) {
  const Words words = with(job({"--out", "a.mp4"}), "--num-inference-steps", "40");
  Process process("wan-infer", words, folder.path());
  ASSERT_TRUE(process.wait_for("denoise 4/"));
  process.signal(SIGINT);
  EXPECT_EQ(process.finish().code, 130);
  Words anew = words;
  anew.push_back("--fresh");
  const Outcome fresh = run(anew);
  EXPECT_EQ(fresh.code, 0) << fresh.err;
  EXPECT_NE(fresh.err.find("denoise 0/"), std::string::npos) << fresh.err;
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4"}));
}

TEST_F(Program, AFinishedVideoIsNotReplacedUnlessAskedFor) {
  const Words words = job({"--out", "a.mp4"});
  ASSERT_EQ(run(words).code, 0);
  const std::string made = content(at("a.mp4"));
  const Outcome again = run(words);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.err.find("denoise"), std::string::npos) << "rendered again";
  const Outcome other = run(with(words, "--seed", "43"));
  EXPECT_EQ(other.code, 2);
  expect_one_line(other, "--overwrite");
  EXPECT_TRUE(content(at("a.mp4")) == made);
  Words over = with(words, "--seed", "43");
  over.push_back("--overwrite");
  EXPECT_EQ(run(over).code, 0);
  EXPECT_FALSE(content(at("a.mp4")) == made);
}

/// Kills a job with SIGKILL after each of `delays`, goes on, and compares the file with that of an undisturbed run.
void Program::expect_survives(const Words& words, const std::vector<int>& delays_ms) {
  ASSERT_EQ(run(with(words, "--out", "whole.mp4")).code, 0);
  for (int delay : delays_ms) {
    Process process("wan-infer", with(words, "--out", "killed.mp4"), folder.path());
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    process.signal(SIGKILL);
    process.finish();
  }
  const Outcome rest = run(with(words, "--out", "killed.mp4"));
  EXPECT_EQ(rest.code, 0) << rest.err;
  EXPECT_TRUE(content(at("killed.mp4")) == content(at("whole.mp4")));
  for (const std::string& name : files()) EXPECT_TRUE(!name.starts_with("killed.mp4.")) << name << " is left over";
}

TEST_F(Program, KilledAtAnyMomentItGoesOnAndLeavesNothing) {
  const Words text = with(job({"--out", ""}), "--num-inference-steps", "40");
  expect_survives(text, {320, 350, 400, 450, 500});
  std::filesystem::copy(at("whole.mp4"), at("in.mp4"));
  Words video = text;
  video[0] = "v2v";
  video.insert(video.end(), {"--video", at("in.mp4")});
  std::filesystem::remove(at("killed.mp4"));
  std::filesystem::remove(at("whole.mp4"));
  expect_survives(video, {340, 400, 480});
}

TEST_F(Program, AFullDiskIsOneErrorAndNoHalfFile) {
  Outcome full = run(job({"--out", "a.mp4"}), {.file_bytes = 1024});
  EXPECT_EQ(full.code, 1);
  expect_one_line(full, "cannot be written: File too large");
  EXPECT_TRUE(files().empty());
}

TEST_F(Program, AnOutputThatCannotBeIsRefused) {
  std::ofstream(at("file")) << "x";
  std::filesystem::create_directory(at("folder"));
  for (const char* out : {"absent/a.mp4", "file/a.mp4", "folder", "folder/"}) {
    Outcome run = this->run(job({"--out", out}));
    EXPECT_EQ(run.code, 2) << out;
    expect_one_line(run, "[--out]");
  }
  ASSERT_EQ(mkfifo(at("pipe").c_str(), 0600), 0);
  for (const std::string& out : {std::string("pipe"), std::string("/dev/null"), std::string(230, 'a') + ".mp4"}) {
    Outcome run = this->run(job({"--out", out}));
    EXPECT_EQ(run.code, 2) << out;
    expect_one_line(run, "[--out]");
  }
  std::filesystem::remove(at("pipe"));
  // Where files cannot be made, only the attempt shows it.
  const Outcome late = run(job({"--out", "/proc/a.mp4"}));
  EXPECT_EQ(late.code, 2);
  expect_one_line(late, "'proc'");
  EXPECT_EQ(files(), (std::vector<std::string>{"file", "folder"}));
}

TEST_F(Program, AnyTextIsAPrompt) {
  std::string text;
  while (text.size() < 10000) text += "a red circle & <b>\xe4\xb8\x80</b> ";
  for (const std::string& prompt : {std::string(), text}) {
    Outcome run = this->run(with(job({"--out", "a.mp4", "--overwrite"}), "--prompt", prompt));
    EXPECT_EQ(run.code, 0) << run.err;
  }
  Outcome broken = run(with(job({"--out", "b.mp4"}), "--prompt", "caf\xe9"));
  EXPECT_EQ(broken.code, 2);
  expect_one_line(broken, "[--prompt] must be UTF-8");
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4"}));
}

TEST_F(Program, LogLinesAreJsonWhenAskedFor) {
  Outcome run = this->run(job({"--out", "a.mp4", "--log-format", "json"}));
  EXPECT_EQ(run.code, 0);
  std::istringstream lines(run.err);
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line).at("event"));
  EXPECT_GT(std::count(events.begin(), events.end(), "progress"), 3) << run.err;
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back(), "done");
}

/// A copy of the model folder, so that one of its files can be spoilt.
class Hostile : public Program {
 protected:
  void SetUp() override { std::filesystem::copy(kNano, model(), std::filesystem::copy_options::recursive); }
  std::filesystem::path model() const { return folder / "model"; }

  /// The job ends before its first step with exit code 3 and one line that holds each of `parts`; nothing is left.
  void expect_refused(const Words& parts) {
    Outcome run = this->run(with(job({"--out", "a.mp4"}), "--model", model()));
    EXPECT_EQ(run.code, 3) << run.err;
    for (const std::string& part : parts) expect_one_line(run, part);
    EXPECT_EQ(run.err.find("denoise"), std::string::npos) << run.err;
    EXPECT_EQ(files(), Words{"model"});
  }
};

TEST_F(Hostile, NoFolder) {
  std::filesystem::remove_all(model());
  Outcome run = this->run(with(job({"--out", "a.mp4"}), "--model", model()));
  EXPECT_EQ(run.code, 3) << run.err;
  expect_one_line(run, "model");
}

TEST_F(Hostile, FilesThatAreMissing) {
  std::filesystem::remove(model() / "Wan2.1_VAE.pth");
  std::filesystem::remove(model() / "low_noise_model" / "diffusion_pytorch_model-00002-of-00002.safetensors");
  expect_refused({"Wan2.1_VAE.pth"});
}

TEST_F(Hostile, AShardThatIsMissing) {
  std::filesystem::remove(model() / "low_noise_model" / "diffusion_pytorch_model-00002-of-00002.safetensors");
  expect_refused({"diffusion_pytorch_model-00002-of-00002.safetensors"});
}

TEST_F(Hostile, AShardThatWasCutOff) {
  const std::filesystem::path shard = model() / "high_noise_model/diffusion_pytorch_model-00001-of-00002.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  expect_refused({"diffusion_pytorch_model-00001-of-00002.safetensors"});
}

TEST_F(Hostile, APickleThatWantsToRun) {
  std::filesystem::copy_file(WAN_SOURCE_DIR "/tests/formats/pickle_bad/global_os_system.pth",
                             model() / "Wan2.1_VAE.pth", std::filesystem::copy_options::overwrite_existing);
  expect_refused({"Wan2.1_VAE.pth", "system"});
}

TEST_F(Hostile, TensorsOfAnotherShape) {
  const std::filesystem::path path = model() / "low_noise_model" / "config.json";
  nlohmann::json config = nlohmann::json::parse(content(path));
  config["ffn_dim"] = config["ffn_dim"].get<int64_t>() * 2;
  std::ofstream(path) << config;
  expect_refused({"low_noise_model/config.json] ffn_dim must be "});
}

TEST_F(Hostile, ATokenizerThatIsNone) {
  std::ofstream(model() / "google/umt5-xxl/tokenizer.json") << "{\"model\": {\"type\": \"Unigram\", \"vocab\": 3}}";
  expect_refused({"tokenizer.json"});
}

TEST_F(Hostile, AModelOfAnotherTask) {
  std::filesystem::remove_all(model());
  std::filesystem::copy(WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-I2V-A14B", model(),
                        std::filesystem::copy_options::recursive);
  expect_refused({"must be a text-to-video transformer as the high-noise expert of t2v, is: image-to-video"});
}

TEST_F(Hostile, NaNInTheVaeIsNoBlackVideo) {
  const std::filesystem::path path = model() / "Wan2.1_VAE.pth";
  const Checkpoint vae = Checkpoint::open(path);
  const at::Tensor head = vae.map("decoder.head.2.bias");
  const auto* bytes = static_cast<const char*>(head.data_ptr());
  std::string file = content(path);
  const size_t place = file.find(std::string(bytes, head.nbytes()));
  ASSERT_NE(place, std::string::npos);
  file.replace(place, 4, "\xff\xff\xff\x7f");
  std::filesystem::remove(path);  // the mapping keeps the old one
  std::ofstream(path, std::ios::binary) << file;
  Outcome broken = run(with(job({"--out", "a.mp4"}), "--model", model()));
  EXPECT_EQ(broken.code, 3);
  expect_one_line(broken, "Wan2.1_VAE.pth: decoder.head.2.bias] must hold finite numbers, holds some that are not");
  EXPECT_NE(broken.err.find("wan-infer decode " + latents_in("a.mp4.work")), std::string::npos) << broken.err;
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4.work", "model"}));
}

TEST_F(Hostile, AnotherCheckpointThanTheVideosIsNotReplayed) {
  ASSERT_EQ(run(job({"--out", "a.mp4"})).code, 0);
  std::filesystem::copy_file(WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-T2V-A14B/Wan2.1_VAE.pth",
                             model() / "Wan2.1_VAE.pth", std::filesystem::copy_options::overwrite_existing);
  Outcome run = this->run({"replay", "a.mp4", "--model", model()});
  EXPECT_EQ(run.code, 3) << run.err;
  expect_one_line(run, "Wan2.1_VAE.pth");
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4", "model"}));
}

TEST_F(Hostile, SwappedExpertsAreNotReplayedUnlessAskedFor) {
  ASSERT_EQ(run(job({"--out", "a.mp4"})).code, 0);
  std::filesystem::rename(model() / "high_noise_model", at("aside"));
  std::filesystem::rename(model() / "low_noise_model", model() / "high_noise_model");
  std::filesystem::rename(at("aside"), model() / "low_noise_model");
  const Outcome refused = run({"replay", "a.mp4", "--model", model()});
  EXPECT_EQ(refused.code, 3) << refused.err;
  for (const char* words :
       {"wan-infer: [high_noise_model/diffusion_pytorch_model-00001-of-00002.safetensors] must be as "
        "recorded, ",
        " bytes with samples:", ", has the same size and other weights: samples:",
        "; --model DIR names another folder, --anyway takes what is here"})
    EXPECT_NE(refused.err.find(words), std::string::npos) << words << "\n" << refused.err;
  EXPECT_EQ(refused.err.find(folder.path()), std::string::npos) << "names only";
  EXPECT_EQ(files(), (std::vector<std::string>{"a.mp4", "model"}));
  const Outcome anyway = run({"replay", "a.mp4", "--model", model(), "--anyway", "--threads", "1"});
  EXPECT_EQ(anyway.code, 0) << anyway.err;
  EXPECT_NE(anyway.err.find("low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors"), std::string::npos);
  EXPECT_FALSE(content(at("a.mp4")) == content(at("a-replay.mp4")));
}

TEST_F(Program, AnotherInputOfTheSameNameIsNotReplayed) {
  ASSERT_EQ(run(job({"--out", "in.mp4"})).code, 0);
  ASSERT_EQ(run(with(job({"--out", "other.mp4"}), "--seed", "43")).code, 0);
  std::filesystem::create_directory(at("made"));
  Words words = job({"--video", at("in.mp4"), "--out", "made/b.mp4"});
  words[0] = "v2v";
  ASSERT_EQ(run(words).code, 0);
  EXPECT_EQ(run({"show", "made/b.mp4"}).out.find(folder.path()), std::string::npos) << "names only";
  const Words replay = {"replay", "made/b.mp4", "--model", kNano, "--threads", "1"};
  EXPECT_EQ(run(replay).code, 0) << "found in the current folder";
  EXPECT_TRUE(content(at("made/b.mp4")) == content(at("made/b-replay.mp4")));

  const auto more = [&](const Words& last) {
    Words all = replay;
    all.insert(all.end(), last.begin(), last.end());
    return all;
  };
  std::filesystem::copy(at("other.mp4"), at("made/in.mp4"));  // beside the video: it goes before the current folder
  const Outcome other = run(replay);
  EXPECT_EQ(other.code, 3) << other.err;
  expect_one_line(other, "[--video] must be as recorded, 'in.mp4' of ");
  EXPECT_EQ(run(more({"--video", "in.mp4"})).code, 0);
  const Outcome anyway = run(more({"--anyway"}));
  EXPECT_EQ(anyway.code, 0) << anyway.err;
  EXPECT_NE(anyway.err.find("replay: [--video] must be as recorded, 'in.mp4' of "), std::string::npos) << anyway.err;

  std::filesystem::remove(at("made/in.mp4"));
  std::filesystem::remove(at("in.mp4"));
  const Outcome gone = run(replay);
  EXPECT_EQ(gone.code, 2);
  expect_one_line(gone, "--video FILE gives it");
}

TEST_F(Program, MetadataIsAsMuchAsIsAskedFor) {
  ASSERT_EQ(run(job({"--out", "none.mp4", "--metadata", "none"})).code, 0);
  ASSERT_EQ(run(job({"--out", "minimal.mp4", "--metadata", "minimal"})).code, 0);
  for (const char* out : {"none.mp4", "minimal.mp4"}) {
    for (const char* part : {"a red circle", "nano"})
      EXPECT_EQ(content(at(out)).find(part), std::string::npos) << out << " " << part;
    const Outcome refused = run({"replay", out, "--model", kNano});
    EXPECT_EQ(refused.code, 2);
    expect_one_line(refused, "--metadata");
  }
  EXPECT_EQ(content(at("none.mp4")).find("num_inference_steps"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(run({"show", "minimal.mp4"}).out)["request"]["seed"], 42);
}

TEST_F(Program, AFullSizeFolderIsListedInLittleMemory) {
  write_sparse_t2v_folder(at("model"));
  Outcome listed = run({"inspect", "model"});
  EXPECT_EQ(listed.code, 0) << listed.err;
  EXPECT_FALSE(listed.out.empty());
#ifndef __SANITIZE_ADDRESS__  // its shadow memory and red zones are resident, too
  EXPECT_LT(listed.peak_rss, int64_t(300) << 20);
#endif
}

TEST_F(Program, CalibrateWritesAFileThatARenderTakes) {
  std::ofstream(folder / "p.txt") << "a red circle moves up\n\na blue square moves left\n";
  Words words = {"calibrate", "t2v", "--model", kNano, "--prompts", "p.txt", "--out", "c.json"};
  const Words settings = {"--width", "32", "--height", "32",  "--num-frames", "17", "--num-inference-steps", "10",
                          "--seed",  "42", "--device", "cpu", "--threads",    "1"};
  words.insert(words.end(), settings.begin(), settings.end());
  const Outcome made = run(words);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(made.out.starts_with("with it --acceleration regular reuses ")) << made.out;
  EXPECT_EQ(files(), (std::vector<std::string>{"c.json", "p.txt"}));
  const nlohmann::json json = nlohmann::json::parse(std::ifstream(folder / "c.json"));
  EXPECT_EQ(json.at("videos"), 2);
  EXPECT_EQ(json.at("steps").size(), 10u);
  EXPECT_EQ(run(words).code, 2) << "it is there";
  // A mark before the first prompt is none of it, and few steps are told.
  std::ofstream(folder / "p.txt") << "\xEF\xBB\xBF"
                                  << "a red circle moves up\r\n \t\r\na blue square moves left\r\n";
  Words marked = words;
  *std::find(marked.begin(), marked.end(), "c.json") = "d.json";
  EXPECT_EQ(run(marked).code, 0);
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(folder / "d.json")), json);
  *std::find(marked.begin(), marked.end(), "d.json") = "e.json";
  std::ofstream(folder / "long.txt") << std::string((1 << 20) + 1, 'x') << '\n';
  Words lengthy = marked;
  *std::find(lengthy.begin(), lengthy.end(), "p.txt") = "long.txt";
  const Outcome refused = run(lengthy);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("has a line of more than 1 MiB"), std::string::npos) << refused.err;
  *std::find(marked.begin(), marked.end(), "10") = "4";
  const Outcome few = run(marked);
  EXPECT_NE(few.out.find("reuses 0 of 8 forwards of these steps: the run makes 4 steps"), std::string::npos) << few.out;
  Words render = {"t2v",     "--model",       kNano,    "--prompt", "x",    "--acceleration",
                  "regular", "--calibration", "c.json", "--out",    "a.mp4"};
  render.insert(render.end(), settings.begin(), settings.end());
  const Outcome done = run(render);
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.err.find("of other weights"), std::string::npos);
  // The same with the plan of the model that is here.
  Words dry_words = render;
  dry_words.push_back("--dry-run");
  const Outcome dry = run(dry_words);
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_EQ(dry.out.find("of this size"), std::string::npos) << dry.out;
  // A replay finds the file beside the video, by its name and content.
  const Outcome again = run({"replay", "a.mp4", "--model", kNano, "--out", "b.mp4"});
  EXPECT_EQ(again.code, 0) << again.err;
  std::filesystem::rename(folder / "c.json", folder / "moved.json");
  EXPECT_EQ(run({"replay", "a.mp4", "--model", kNano, "--out", "c.mp4"}).code, 2) << "it is gone";
  EXPECT_EQ(run({"replay", "a.mp4", "--model", kNano, "--calibration", "moved.json", "--out", "c.mp4"}).code, 0);
  std::ofstream(folder / "moved.json", std::ios::app) << " ";
  const Outcome other = run({"replay", "a.mp4", "--model", kNano, "--calibration", "moved.json", "--out", "d.mp4"});
  EXPECT_EQ(other.code, 3) << other.err;
  EXPECT_NE(other.err.find("--calibration FILE names another"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace wan
