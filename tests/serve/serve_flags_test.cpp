// The command line of wan-serve.
#include "tools/serve/serve_flags.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "models/files/scratch_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using serve::Settings;

/// Splits at blanks.
ServeCommand parse(const std::string& line) {
  std::vector<std::string> words = {"wan-serve"};
  std::istringstream in(line);
  for (std::string word; in >> word;) words.push_back(word);
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  return parse_serve_command(int(pointers.size()), pointers.data());
}

/// What is needed in every command; the model is a set's name, which need not be there.
const std::string kLeast = "--data data --model t2v=small --device cpu ";

Settings settings(const std::string& more) {
  return parse(kLeast + more).settings;
}

/// All that is wrong, a line each.
std::vector<std::string> wrong(const std::string& line) {
  try {
    parse(line);
  } catch (const InvalidRequest& invalid) {
    std::vector<std::string> lines;
    for (const FieldError& error : invalid.errors) lines.push_back(error.line());
    return lines;
  }
  return {};
}

void expect_one(const std::string& more, const std::string& begin, const std::string& part = "") {
  const std::vector<std::string> lines = wrong(kLeast + more);
  ASSERT_EQ(lines.size(), 1u) << more << (lines.empty() ? "" : "\n" + lines[0] + "\n" + lines.back());
  EXPECT_TRUE(lines[0].starts_with(begin)) << more << ": " << lines[0];
  EXPECT_NE(lines[0].find(part), std::string::npos) << more << ": " << lines[0];
}

TEST(ServeFlags, NameASafetyChecker) {
  const ScratchFolder scratch;
  const std::string folder = scratch.path.string(), words = (scratch.path / "words.txt").string();
  std::ofstream(words) << "word\n";
  expect_one("--safety-checker " + folder, "[--safety-checker] must be a folder that holds config.json");
  fs::create_directory(scratch.path / "safety_checker");
  std::ofstream(scratch.path / "safety_checker" / "config.json") << "{}";  // of a whole Stable Diffusion
  EXPECT_EQ(settings("--safety-checker " + folder).safety_checker, folder);
  std::ofstream(scratch.path / "config.json") << "{}";
  const Settings read = settings("--safety-checker " + folder + " --blocked-words " + words +
                                 " --safety-threshold 0.25 --safety-action blur --render enable_safety_checker=true");
  EXPECT_EQ(read.safety_checker, folder);
  EXPECT_EQ(read.blocked_words, words);
  EXPECT_EQ(read.safety_threshold, 0.25);
  EXPECT_EQ(read.safety_action, "blur");
  EXPECT_EQ(settings("").safety_action, "refuse");
  expect_one("--safety-checker " + words, "[--safety-checker] must be a folder");
  expect_one("--blocked-words " + folder, "[--blocked-words] must be a file");
  expect_one("--safety-threshold 7 --safety-checker " + folder, "[--safety-threshold] must be from -1 to 1");
  expect_one("--safety-action hide --blocked-words " + words, "[--safety-action] must be refuse, blur or flag");
  EXPECT_EQ(settings("--safety-action flag --blocked-words " + words).safety_action, "flag");
  expect_one("--safety-threshold 0.5", "[--safety-threshold] needs --safety-checker DIR");
  expect_one("--safety-threshold 0.5 --blocked-words " + words, "[--safety-threshold] needs --safety-checker DIR");
  expect_one("--safety-action blur", "[--safety-action] needs --safety-checker DIR, or --blocked-words FILE");
  expect_one("--render enable_output_safety_checker=true", "[--render] of enable_output_safety_checker needs");
  expect_one("--render discard=false", "[--render] cannot set discard");
}

TEST(ServeFlags, SayWhatGenerationsMayName) {
  const ScratchFolder scratch;
  const std::string file = (scratch.path / "noise.pt").string();
  std::ofstream(file) << "x";
  const Settings read = settings("--answer-paths --latents-dir " + scratch.path.string());
  EXPECT_TRUE(read.answer_paths);
  EXPECT_EQ(read.latents_dir, scratch.path);
  EXPECT_FALSE(settings("").answer_paths);
  EXPECT_TRUE(settings("").latents_dir.empty());
  expect_one("--latents-dir " + file, "[--latents-dir] must be a folder");
}

TEST(ServeFlags, HaveTheirDefaults) {
  const ServeCommand command = parse(kLeast);
  EXPECT_EQ(command.kind, ServeCommand::Kind::Serve);
  const Settings& settings = command.settings;
  EXPECT_EQ(settings.net.address, "127.0.0.1");
  EXPECT_EQ(settings.net.port, 8000);
  EXPECT_TRUE(settings.data.is_absolute());
  EXPECT_EQ(settings.models.at("t2v"), "small");
  EXPECT_EQ(settings.devices, std::vector<std::string>{"cpu"});
  EXPECT_TRUE(settings.keys.empty());
  EXPECT_TRUE(settings.private_urls);
  EXPECT_EQ(settings.window, 5min);
  EXPECT_EQ(settings.worker_timeout, std::nullopt);
  EXPECT_EQ(settings.idle_unload, 0s);
  EXPECT_EQ(settings.keep, 7 * 24h);
  EXPECT_EQ(settings.keep_bytes, 0u);
  EXPECT_EQ(settings.most_file_bytes, uint64_t(1) << 30);
  EXPECT_EQ(settings.default_acceleration, "none");
  EXPECT_EQ(settings.precision, "exact");
  EXPECT_FALSE(settings.log_json);
}

TEST(ServeFlags, AreRead) {
  const ScratchFolder folder;
  fs::create_directory(folder.path / "i2v");
  std::ofstream(folder.path / "cert.pem") << "x";
  const Settings read = settings(
      "--listen [::1]:9000 --public-url https://wan.example/video/ --cors http://localhost:3000 --window 90s "
      "--idle-unload=10m --worker-timeout 30m --keep 36h --keep-bytes 200G --max-file 1.5GiB --rate 20 --size-override "
      "64x128 --precision "
      "fast "
      "--default-acceleration regular --log-format json --least-free 500M --render num_inference_steps=4 --render "
      "negative_prompt=none --model i2v=" +
      (folder.path / "i2v").string() + " --tls-cert " + (folder.path / "cert.pem").string() + " --tls-key " +
      (folder.path / "cert.pem").string());
  EXPECT_EQ(read.net.address, "::1");
  EXPECT_EQ(read.net.port, 9000);
  EXPECT_EQ(read.net.public_url, "https://wan.example/video");
  EXPECT_EQ(read.net.certificate, folder.path / "cert.pem");
  EXPECT_EQ(read.cors, "http://localhost:3000");
  EXPECT_EQ(read.window, 90s);
  EXPECT_EQ(read.idle_unload, 10min);
  EXPECT_EQ(read.worker_timeout, std::optional<std::chrono::seconds>(30min));
  EXPECT_EQ(read.keep, 36h);
  EXPECT_EQ(read.keep_bytes, 200'000'000'000u);
  EXPECT_EQ(read.most_file_bytes, uint64_t(3) << 29);
  EXPECT_EQ(read.least_free_bytes, 500'000'000u);
  EXPECT_EQ(read.requests_per_second, 20);
  EXPECT_EQ(read.size_override, "64x128");
  EXPECT_EQ(read.precision, "fast");
  EXPECT_EQ(read.default_acceleration, "regular");
  EXPECT_TRUE(read.log_json);
  EXPECT_EQ(read.render.at("num_inference_steps"), "4");
  EXPECT_EQ(read.render.at("negative_prompt"), "none");
  EXPECT_EQ(read.models.at("i2v"), (folder.path / "i2v").string());
  EXPECT_TRUE(parse(kLeast + "--tls-self-signed").self_signed);
}

TEST(ServeFlags, EverythingWrongIsToldAtOnce) {
  const std::vector<std::string> lines = wrong("--model t3v=x --rate 0 --keep soon --lisen 1 --log-format xml");
  ASSERT_EQ(lines.size(), 6u);
  for (const char* flag : {"[--lisen]", "[--model]", "[--rate]", "[--keep]", "[--log-format]", "[--data]"})
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.starts_with(flag);
    })) << flag;
  EXPECT_NE(lines[0].find("--listen"), std::string::npos) << "the nearest flag: " << lines[0];
}

TEST(ServeFlags, EachWrongValueIsNamed) {
  for (const char* listen :
       {"localhost:", ":8000", "127.0.0.1:65536", "127.0.0.1:x", "http://localhost:8000", "::1:8000", "a/b:1", "8950"})
    expect_one(std::string("--listen ") + listen, "[--listen] must be HOST:PORT");
  for (const char* url : {"wan.example", "ftp://wan.example", "https://", "https://wan.example?x=1"})
    expect_one(std::string("--public-url ") + url, "[--public-url] must be a URL");
  for (const char* cors : {"*", "localhost:3000", "http://localhost:3000/", "https://*.example"})
    expect_one(std::string("--cors ") + cors, "[--cors] must be one origin");
  for (const char* time : {"10", "ten", "-5m", "5x", "m", "9999999d"})
    expect_one(std::string("--window ") + time, "[--window] must be 0 or a time");
  expect_one("--keep 10m", "[--keep] must be 0 or a time from 1 h");
  for (const char* size : {"200", "-1G", "lots", "1 2G"})
    EXPECT_FALSE(wrong(kLeast + "--keep-bytes " + size).empty()) << size;
  expect_one(
      "--keep-bytes 1",
      "[--keep-bytes] must be a size with its unit, like 500M, 200G or 2TiB, got '1'; leave it out for no limit");
  expect_one("--max-file 1K", "[--max-file] must be a size from 1.05 MB");
  for (const char* size : {"64", "64x", "x64", "64x65", "0x0", "64X64", "99999x64"})
    expect_one(std::string("--size-override ") + size, "[--size-override] must be WIDTHxHEIGHT");
  for (const char* rate : {"0", "-1", "x", "nan", "1e9"})
    expect_one(std::string("--rate ") + rate, "[--rate] must be a number");
  expect_one("--model t2v=other", "[--model] was given twice for t2v");
  expect_one("--model i2v", "[--model] must be TASK=DIR");
  expect_one("--model i2v=/no/such/folder", "[--model] of i2v must be a folder");
  expect_one("--tls-cert /etc/hostname", "[--tls-key] is needed, too");
  expect_one("--keys /no/such/file", "[--keys] must be a file that can be read");
  expect_one("--worker-timeout 30s", "[--worker-timeout] must be 0 or a time from 1 min");
  expect_one("--window 5m --window 6m", "[--window] was given more than once");
  expect_one("--window", "[--window] needs a value: --window TIME");
  expect_one("--no-auth=yes", "[--no-auth] takes no value");
  expect_one("stray", "[argument] is not wanted here");
}

TEST(ServeFlags, DevicesAreNamedOnce) {
  const auto devices = [](const std::string& flags) {
    return parse("--data data --model t2v=small " + flags).settings.devices;
  };
  const std::vector<std::string> cards = cuda_devices();
  EXPECT_EQ(devices("").size(), 1u);
  EXPECT_EQ(devices("--device cpu"), std::vector<std::string>{"cpu"});
  if (!cards.empty()) {
    EXPECT_EQ(devices("--device cuda"), std::vector<std::string>{"cuda:0"});
    EXPECT_EQ(devices("--gpus 0"), std::vector<std::string>{"cuda:0"});
    EXPECT_EQ(devices("--gpus all"), cards);
  }
  // Cards that are not there, of two flags.
  const std::string next = std::to_string(cards.size()), begin = "must be cards of this machine, ";
  for (const auto& [flags, flag] : {std::pair<std::string, std::string>{"--device cuda:" + next, "--device"},
                                    std::pair<std::string, std::string>{"--gpus " + next, "--gpus"}}) {
    const std::vector<std::string> lines = wrong("--data data --model t2v=small " + flags);
    ASSERT_EQ(lines.size(), 1u) << flags;
    EXPECT_TRUE(lines[0].starts_with("[" + flag + "] " + begin)) << lines[0];
    EXPECT_NE(lines[0].find(cards.empty() ? "none is found; --device cpu works" : "got cuda:" + next),
              std::string::npos)
        << lines[0];
  }
  for (const char* flags :
       {"--gpus 0,0", "--gpus 0,", "--gpus x", "--gpus -1", "--device gpu", "--device cuda:x", "--device cpu --gpus 0"})
    EXPECT_EQ(wrong("--data data --model t2v=small " + std::string(flags)).size(), 1u) << flags;
}

TEST(ServeFlags, BeyondThisMachineKeysAreNeeded) {
  const ScratchFolder folder;
  const std::string keys = (folder.path / "keys.json").string();
  serve::add_key(keys, "anna", false, {});
  for (const char* address : {"0.0.0.0:8000", "[::]:8000", "192.168.0.5:8000", "wan.example:80"}) {
    const std::string listen = std::string("--listen ") + address;
    expect_one(listen, "[--listen] at", "--no-auth");
    EXPECT_FALSE(settings(listen + " --keys " + keys).private_urls);
    EXPECT_FALSE(settings(listen + " --no-auth").private_urls);
    EXPECT_TRUE(settings(listen + " --no-auth --private-urls").private_urls);
  }
  EXPECT_FALSE(settings("--no-private-urls").private_urls);
  expect_one("--no-auth --keys " + keys, "[--no-auth] lets everybody in");
  for (const char* address : {"localhost:1", "127.0.0.2:1", "[::1]:1"})
    EXPECT_EQ(wrong(kLeast + "--listen " + address).size(), 0u) << address;
}

TEST(ServeFlags, FieldsOfEveryJobAreCheckedByTheTable) {
  expect_one("--render num_inference_steps=1000", "[--render] of num_inference_steps must be");
  expect_one("--render steps=4", "[--render] must name a field", "num_inference_steps");
  expect_one("--render prompt=x", "[--render] cannot set prompt");
  expect_one("--render device=cpu", "[--render] cannot set device");
  expect_one("--render image_url=x", "[--render] cannot set image_url");
  expect_one("--render shift", "[--render] must be NAME=VALUE");
  expect_one("--render shift=5 --render shift=6", "[--render] was given twice for shift");
  EXPECT_TRUE(wrong(kLeast + "--render strength=0.5").empty());  // v2v takes t2v's model
  // Of the jobs that are accelerated.
  EXPECT_EQ(settings("--render calibration=/ratios.json").render.at("calibration"), "/ratios.json");
  const std::vector<std::string> lines = wrong("--data data --device cpu --model s2v=small --render strength=0.5");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].starts_with("[--render] of strength has no effect")) << lines[0];
}

TEST(ServeFlags, HelpAndVersionAreAnswered) {
  for (const char* line : {"--help", "-h", "--rate x --help"}) {
    const ServeCommand command = parse(line);
    EXPECT_EQ(command.kind, ServeCommand::Kind::Answer);
    for (const char* flag : {"--listen HOST:PORT", "--data DIR", "--no-auth", "--keep-bytes SIZE", "--version"})
      EXPECT_NE(command.answer.find(flag), std::string::npos) << flag;
  }
  EXPECT_TRUE(parse("--version").answer.starts_with("wan-serve "));
  EXPECT_NE(parse("key --help").answer.find("--video-seconds N"), std::string::npos);
}

TEST(ServeFlags, KeyCommandsAreRead) {
  const ServeCommand add = parse("key add anna --admin --queued 3 --bytes 20G --video-seconds 90.5 --keys keys.json");
  EXPECT_EQ(add.kind, ServeCommand::Kind::AddKey);
  EXPECT_EQ(add.name, "anna");
  EXPECT_TRUE(add.admin);
  EXPECT_EQ(add.quota.queued_jobs, 3);
  EXPECT_EQ(add.quota.upload_bytes, 20'000'000'000u);
  EXPECT_EQ(add.quota.video_seconds, 90.5);
  EXPECT_EQ(add.keys, "keys.json");
  EXPECT_EQ(parse("key list --keys keys.json").kind, ServeCommand::Kind::ListKeys);
  EXPECT_EQ(parse("key remove anna --keys keys.json").kind, ServeCommand::Kind::RemoveKey);
  for (const char* line :
       {"key", "key drop", "key add", "key add anna", "key add --keys k", "key add a b --keys k",
        "key list anna --keys k", "key remove a --admin --keys k", "key add a --keys k --queued 1.5",
        "key add a --keys k --queued x", "key add a --keys k --bytes x", "key add a --keys k --video-seconds -1"})
    EXPECT_FALSE(wrong(line).empty()) << line;
}

TEST(ServeFlags, FieldsOfThePartsHaveFlags) {
  EXPECT_EQ(serve_flag("tls_cert"), "--tls-cert");
  EXPECT_EQ(serve_flag("listen"), "--listen");
  EXPECT_EQ(serve_flag("name"), "name");
  EXPECT_EQ(serve_flag("--data"), "--data");
}

TEST(Units, TimesAreRead) {
  EXPECT_EQ(read_duration("90s"), 90s);
  EXPECT_EQ(read_duration("10m"), 10min);
  EXPECT_EQ(read_duration("1.5 H"), 90min);
  EXPECT_EQ(read_duration("7d"), 7 * 24h);
  EXPECT_EQ(read_duration("0"), 0s);
  EXPECT_EQ(read_duration("0.4s"), 0s);
  for (const char* text : {"", "s", "10", "-1s", "1y", "1e3s", "10 m x", "nan s", "inf d", "40000d", " 1s"})
    EXPECT_EQ(read_duration(text), std::nullopt) << text;
}

TEST(ServeFlags, TheLanguageServerIsNamedByItsUrl) {
  EXPECT_EQ(settings("").expander_url, "");
  const Settings with = settings("--expander-url http://127.0.0.1:11434/v1 --expander-model qwen3:8b");
  EXPECT_EQ(with.expander_url, "http://127.0.0.1:11434/v1");
  EXPECT_EQ(with.expander_model, "qwen3:8b");
  expect_one("--expander-url ftp://h", "[--expander-url] must be the URL of a language server");
  expect_one("--expander-model m", "[--expander-model] needs --expander-url");
  expect_one("--expander-url http://h --render expander_model=x", "[--render] cannot set expander_model");
  EXPECT_EQ(settings("--expander-url http://h --render enable_prompt_expansion=true").render.size(), 1u);
  expect_one("--render enable_prompt_expansion=true", "[--render] of enable_prompt_expansion needs a language server");
}

}  // namespace
}  // namespace wan
