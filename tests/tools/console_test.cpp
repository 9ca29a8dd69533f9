#include "tools/cli/console.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include "engine/base/error.h"
#include "tools/cli/signals.h"

namespace wan {
namespace {

/// What `show` makes a console of this form write to stderr, which is no terminal here.
template <typename Show>
std::string written(Console::Format format, Show show) {
  testing::internal::CaptureStderr();
  {
    Console console(format);
    show(console);
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Console, PlainLinesWhereThereIsNoTerminal) {
  const std::string text = written(Console::Format::Text, [](Console& console) {
    console.at({Stage::Denoise, 0, 2, "high", ""});
    console.at({Stage::Decode, 1, 3, "", "clip 2", 3661.0});
    console.log()("load", {{"network", "VAE"}, {"prompt", "two words"}, {"seconds", 0.123456}, {"bytes", 7}});
    console.say("as it is");
  });
  EXPECT_EQ(text,
            "denoise 0/2  high noise\nclip 2 decode 1/3  all 1:01:01\n"
            "load network=VAE prompt=\"two words\" seconds=0.1235 bytes=7\nas it is\n");
}

TEST(Console, WhatIsFoundInAVideoIsASentence) {
  const Log::Fields fields = {{"out", "a.mp4"}, {"kind", "black"}, {"text", "it is black"}, {"change", "another seed"}};
  EXPECT_EQ(log_line("quality", fields, true), "quality [a.mp4] it is black; another seed");
  Log::Fields of_batch = fields;
  of_batch["line"] = 3;
  of_batch["change"] = "";
  EXPECT_EQ(log_line("quality", of_batch, true), "quality [line 3, a.mp4] it is black");
}

TEST(Console, FetchingIsToldInBytesAndNotTooOften) {
  const std::string text = written(Console::Format::Text, [](Console& console) {
    for (int64_t bytes = 1'500'000; bytes < 2'000'000; bytes += 1000)
      console.at({Stage::Fetch, bytes, 20'000'000, "", ""});
    console.at({Stage::Decode, 0, 3, "", ""});
  });
  EXPECT_EQ(text, "fetch 1.5 of 20.0 MB\ndecode 0/3\n");
}

TEST(Console, RateAndTimeLeftFromTheSecondStepOn) {
  const std::string text = written(Console::Format::Text, [](Console& console) {
    console.at({Stage::Denoise, 3, 5, "low", ""});
    console.at({Stage::Denoise, 4, 5, "low", ""});
  });
  EXPECT_TRUE(text.starts_with("denoise 3/5  low noise\ndenoise 4/5  low noise  0.")) << text;
  EXPECT_TRUE(text.ends_with(" s/step  ETA 0:00\n")) << text;
}

TEST(Console, EveryLineIsJsonWhateverItHolds) {
  const std::string text = written(Console::Format::Json, [](Console& console) {
    console.at({Stage::Encode, 0, 2, "", "caf\xe9"});
    console.log()("load", {{"file", "caf\xe9\n"}});
    console.say("caf\xe9\n");
  });
  std::istringstream lines(text);
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line).at("event"));
  EXPECT_EQ(events, (std::vector<std::string>{"progress", "load", "message"}));
}

TEST(Console, TheBarFitsItsRow) {
  EXPECT_EQ(bar_line("decode", 0.5, "1/2", 100), "decode   [###############...............] 1/2");
  const std::string figures = "12/27  high noise  112.34 s/step  ETA 1:02:33";
  EXPECT_EQ(bar_line("denoise", 12.0 / 27, figures, 80), "denoise  [#########.............] " + figures);
  for (int columns : {1, 20, 40, 79, 80, 81, 200})
    EXPECT_LE(bar_line("a long name of a clip denoise", 2, figures, columns).size(), size_t(std::max(1, columns - 1)));
}

TEST(Console, FewLinesStay) {
  const std::string text = written(Console::Format::Text, [](Console& console) {
    for (int64_t step = 0; step < 100; ++step) console.at({Stage::Decode, step, 100, "", ""});
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11) << text;  // 0, 10, ... 90 and the last
  EXPECT_NE(text.find("decode 99/100"), std::string::npos);
  const std::string json = written(Console::Format::Json, [](Console& console) {
    for (int64_t step = 0; step < 100; ++step) console.at({Stage::Decode, step, 100, "", ""});
  });
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 100);
}

TEST(Console, ACountIsToldOnceAndToItsEnd) {
  const std::string text = written(Console::Format::Text, [](Console& console) {
    console.at({Stage::Encode, 0, 1, "", ""});
    console.at({Stage::Encode, 0, 1, "", ""});
    console.at({Stage::Encode, 1, 1, "", ""});
    console.at({Stage::Encode, 0, 2, "", ""});  // another one
    console.at({Stage::Encode, 1, 2, "", ""});
  });
  std::string counts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) counts += line.substr(0, line.find("  ")) + ", ";
  EXPECT_EQ(counts, "encode 0/1, encode 1/1, encode 0/2, encode 1/2, ");
}

TEST(Console, LinesForPeopleHaveTheirUnits) {
  const Log::Fields fields = {{"network", "VAE"}, {"seconds", 80.4}, {"peak_ram_bytes", 3'700'000}, {"frames", 17}};
  EXPECT_EQ(log_line("load", fields, true),
            "load network=VAE seconds=\"1 min 20 s\" peak_ram_bytes=\"3.7 MB\" frames=17");
  EXPECT_EQ(log_line("load", fields, false), "load network=VAE seconds=80.4 peak_ram_bytes=3700000 frames=17");
  const auto shown = [](const char* key, auto value) { return log_line("load", {{key, value}}, true); };
  EXPECT_EQ(shown("bytes", 3'697'964), "load bytes=\"3.7 MB\"");
  EXPECT_EQ(shown("bytes", 7), "load bytes=\"7 bytes\"");
  EXPECT_EQ(shown("file_bytes", int64_t(57'160'000'000)), "load file_bytes=\"57.2 GB\"");
  EXPECT_EQ(shown("copied_bytes", 999'999), "load copied_bytes=\"1.0 MB\"");
  EXPECT_EQ(shown("bytes_ahead", 12'345), "load bytes_ahead=\"12.3 kB\"");
  EXPECT_EQ(shown("seconds_of_sound", 4.0), "load seconds_of_sound=\"4.00 s\"");
  EXPECT_EQ(log_line("load", {{"bytes", 3'697'964}}, false), "load bytes=3697964");
  const Log::Fields note = {{"subject", "video_url"}, {"text", "it is cut"}, {"change", "--resample-fps keeps it"}};
  EXPECT_EQ(log_line("note", note, false), "note [video_url] it is cut; --resample-fps keeps it");
}

TEST(Signals, IgnoredOnesStayIgnored) {
  auto ignored = [] {
    std::signal(SIGHUP, SIG_IGN);
    take_signals();
    raise(SIGHUP);
    _exit(signal_that_came());
  };
  EXPECT_EXIT(ignored(), testing::ExitedWithCode(0), "");
}

TEST(Signals, HeldOnesComeLater) {
  auto held = [] {
    hold_signals();
    raise(SIGTERM);
    if (signal_that_came() != 0) _exit(1);
    take_signals();
    _exit(signal_that_came());
  };
  EXPECT_EXIT(held(), testing::ExitedWithCode(SIGTERM), "");
}

TEST(Signals, AnotherOneEndsTheProgramAtOnce) {
  auto another = [] {
    take_signals();
    raise(SIGINT);
    raise(SIGTERM);
    _exit(0);
  };
  EXPECT_EXIT(another(), testing::KilledBySignal(SIGTERM), "");
}

TEST(Console, ASignalStopsTheJobAtItsNextStep) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    auto stopped = [signal] {
      take_signals();
      Console console(Console::Format::Text);
      console.at({Stage::Denoise, 0, 2, "high", ""});
      raise(signal);
      try {
        console.at({Stage::Denoise, 1, 2, "high", ""});
      } catch (const Cancelled&) {
        _exit(130);
      }
      _exit(0);
    };
    EXPECT_EXIT(stopped(), testing::ExitedWithCode(130), "denoise 0/2");
    auto between_steps = [signal] {
      take_signals();
      Console console(Console::Format::Text);
      console.check();
      raise(signal);
      try {
        console.check();
      } catch (const Cancelled&) {
        _exit(130);
      }
      _exit(0);
    };
    EXPECT_EXIT(between_steps(), testing::ExitedWithCode(130), "");
    // GNU timeout signals its child and then the group.
    auto as_one = [signal] {
      take_signals();
      raise(signal);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      raise(signal);
      raise(signal);
      _exit(signal_that_came());
    };
    EXPECT_EXIT(as_one(), testing::ExitedWithCode(signal), "");
    auto twice = [signal] {
      take_signals();
      raise(signal);
      std::this_thread::sleep_for(std::chrono::milliseconds(600));
      raise(signal);
      _exit(0);
    };
    // A closing terminal sends SIGHUP more than once.
    if (signal == SIGHUP) {
      EXPECT_EXIT(twice(), testing::ExitedWithCode(0), "");
    } else {
      EXPECT_EXIT(twice(), testing::KilledBySignal(signal), "");
    }
  }
}

}  // namespace
}  // namespace wan
