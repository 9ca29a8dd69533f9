// Which folder may include which: the table below, held against the #include lines of the tree.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

/// A folder (without its sub-folders), or a single file with or without its extension.
struct Room {
  std::string path;
  std::string may;       // what it includes besides itself
  std::string why = {};  // needed where `may` names a room that stands further down
};

const std::string kKernels =
    " kernels/op kernels/linear kernels/dequantise kernels/norm kernels/rope kernels/convolution kernels/step "
    "kernels/attention";
const std::string kWeights =
    " models/files models/weights/dtype models/weights/shape_text models/weights/stored_tensor models/weights";
const std::string kNetworks =
    " models/layers models/names models/recognise models/rife models/film models/lpips models/safety models/text/clean "
    "models/text/tokenizer "
    "models/umt5 models/vae models/wav2vec2 models/wan models/wan_s2v";
const std::string kModels = kWeights + " models/weights/format" + kNetworks;
const std::string kRequest = " models/files engine/base engine/request";
const std::string kSteps = kKernels + kModels + kRequest + " engine/media engine/residency";
const std::string kSpeech = kSteps + " engine/sampling engine/frames engine/speech";
const std::string kEngine = kSpeech + " engine/job/work_folder engine/job engine/compare";

// Lowest first: kernels <- models <- engine <- tools, and the same within each. What is not named may not be included.
const std::vector<Room> kRooms = {
    {"kernels/simt/emulator", "kernels/simt kernels/op", "executes what simt and op/fragments.h define"},
    {"kernels/simt", "kernels/simt/emulator kernels/op",
     "uses op/launch.h (element types) and op/fragments.h (layouts)"},
    {"kernels/op", "kernels/simt"},
    {"kernels/op/context.cpp", "kernels/op kernels/attention", "a Context owns the selector of its device"},
    {"kernels/convolution", "kernels/op kernels/simt kernels/linear", "a convolution of 1x1 pixels is a product"},
    {"kernels/step", "kernels/op kernels/simt"},
    {"kernels/linear", "kernels/op kernels/simt kernels/norm", "an 8-bit product ends in norm's gated residual"},
    {"kernels/dequantise", "kernels/op kernels/simt kernels/linear"},
    {"kernels/norm", "kernels/op kernels/simt kernels/linear"},  // norm_int8 quantises the row that it holds
    {"kernels/rope", "kernels/op kernels/simt kernels/norm"},
    {"kernels/attention", "kernels/op kernels/simt kernels/linear"},

    {"models/files", ""},
    {"models/weights/dtype", ""},
    {"models/weights/shape_text", ""},
    {"models/weights/stored_tensor", "kernels/dequantise models/files"},
    {"models/weights/format", "kernels/dequantise models/files models/weights/dtype models/weights/stored_tensor"},
    {"models/weights/quantised",
     "models/files models/weights/dtype models/weights/shape_text models/weights/stored_tensor"},
    {"models/weights", kKernels +
                           " models/files models/weights/dtype models/weights/stored_tensor models/weights/format"
                           " models/weights/quantised"},
    {"models/weights/lora", kWeights + " kernels/op kernels/dequantise models/weights/format"},
    {"models/names", "models/weights/stored_tensor"},
    {"models/recognise", "models/files models/weights/stored_tensor models/names"},
    {"models/weights/convert", kKernels + kWeights + " models/recognise models/weights/lora"},
    {"models/layers", kKernels + kWeights},
    {"models/text/clean", "models/files"},
    {"models/text/tokenizer", kWeights + " models/weights/format models/text/clean"},
    {"models/rife", kKernels + kWeights + " models/layers"},
    {"models/safety", kKernels + kWeights + " models/layers models/names"},
    {"models/umt5", kKernels + kWeights + " models/layers"},
    {"models/vae", kKernels + kWeights + " models/layers"},
    {"models/wav2vec2", kKernels + kWeights + " models/layers models/names"},
    {"models/film", kKernels + kWeights + " models/names"},
    {"models/lpips", kKernels + kWeights + " models/names"},
    {"models/wan", kKernels + kWeights + " models/layers models/names"},
    {"models/wan_s2v", kKernels + kWeights + " models/layers models/names models/wan"},

    {"engine/base", "models/files"},
    {"engine/request", "models/files engine/base"},
    {"engine/fetch", kRequest},
    {"engine/media", kRequest},
    {"engine/serve/net", kRequest},
    {"engine/serve/queue", kRequest + " engine/serve/net"},
    {"engine/serve/settings", kRequest + " engine/serve/net"},
    {"engine/serve/work", kRequest + " engine/serve/net engine/serve/queue engine/serve/settings"},
    {"engine/serve/api",
     kRequest + " engine/fetch engine/serve/net engine/serve/queue engine/serve/settings engine/serve/work"},
    {"engine/serve",
     kRequest +
         " engine/fetch engine/serve/net engine/serve/queue engine/serve/settings engine/serve/work engine/serve/api"},
    {"engine/residency", kKernels + kModels + kRequest + " models/weights/convert models/weights/lora"},
    {"engine/sampling", kSteps},
    {"engine/frames", kSteps},
    {"engine/compare", kSteps},
    {"engine/speech", kSteps + " engine/sampling engine/frames"},
    {"engine/job/work_folder", kRequest},
    {"engine/job", kSpeech + " engine/fetch engine/job/work_folder"},

    {"tools/serve",
     kEngine + " engine/fetch engine/serve engine/serve/net engine/serve/queue engine/serve/settings engine/serve/work "
               "engine/serve/api tools/cli",
     "a worker tells and obeys the server, in its words"},
    {"tools/cli", kEngine + " models/weights/convert"},
    {"tools/remote", kRequest + " engine/fetch engine/job/work_folder tools/cli"},
    {"tools/bench", kKernels + kModels + " models/weights/convert models/weights/lora"},
    {"tools/mlperf", kEngine + " tools/bench"},
    {"tools/serve_bench", kRequest + " engine/serve/work tools/bench"},
    {"tools", kEngine + " engine/fetch engine/serve engine/serve/net engine/serve/settings tools/serve tools/cli "
                        "tools/remote tools/bench tools/mlperf tools/serve_bench"},
};

/// Files that reach no torch header, neither themselves nor through what they include: a path's beginning or its end.
struct TorchFree {
  std::string beginning, end, why;
};
const std::vector<TorchFree> kTorchFree = {
    {"", ".cu", "nvcc needs 70 s instead of 4 s for a file with torch"},
    {"", ".cuh", "nvcc needs 70 s instead of 4 s for a file with torch"},
    {"models/files/", "", "the front program starts in milliseconds"},
    {"engine/base/", "", "the front program starts in milliseconds"},
    {"engine/request/", "", "the front program starts in milliseconds"},
    {"engine/fetch/", "", "the server has no tensors"},
    {"engine/serve/", "", "the server has no tensors"},
    {"engine/job/work_folder", "", "a batch at a server has a work folder and no tensors"},
    {"tools/remote/", "", "a client of a server has no tensors"},
    {"tools/serve/serve_flags", "", "the server has no tensors"},
    {"tools/serve/flag_sections", "", "the server has no tensors"},
    {"tools/serve/flag_words", "", "the server has no tensors"},
    {"tools/serve/device_flags", "", "the server has no tensors"},
    {"tools/serve/key_flags", "", "the server has no tensors"},
    {"tools/serve/render_flags", "", "the server has no tensors"},
    {"tools/serve/settings_reader", "", "the server has no tensors"},
    {"tools/wan_serve.cpp", "", "the server has no tensors"},
    {"tools/serve_bench/", "", "a client of a server has no tensors"},
    {"tools/wan_remote.cpp", "", "a client of a server has no tensors"},
    {"tools/cli/batch_report", "", "a client of a server has no tensors"},
    {"tools/cli/server_flags", "", "the front program starts in milliseconds"},
    {"engine/residency/machine.", "", "a plan is arithmetic, for machines that are not here, too"},
    {"engine/residency/plan.", "", "a plan is arithmetic, for machines that are not here, too"},
    {"engine/residency/workload.", "", "a plan is arithmetic, for machines that are not here, too"},
    {"tools/cli/command_line", "", "the front program starts in milliseconds"},
    {"tools/cli/console", "", "the front program starts in milliseconds"},
    {"tools/cli/dry_run", "", "the front program starts in milliseconds"},
    {"tools/cli/flags", "", "the front program starts in milliseconds"},
    {"tools/cli/openmp", "", "the front program starts in milliseconds"},
    {"tools/cli/refusal", "", "the front program starts in milliseconds"},
    {"tools/cli/help", "", "the front program starts in milliseconds"},
    {"tools/wan_infer.cpp", "", "the front program starts in milliseconds"},
};

const std::string kWhereTheTableIs =
    "The table is in tests/tools/rooms_test.cpp; docs/architecture.md describes the rooms.";

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

/// The row of a file: its own, that of its name without extension, or its folder's; kRooms.size() where there is none.
size_t row_of(const std::filesystem::path& path) {
  const std::string names[] = {path.string(), path.parent_path() / path.stem(), path.parent_path()};
  for (const std::string& name : names) {
    const auto row = std::find_if(kRooms.begin(), kRooms.end(), [&](const Room& room) { return room.path == name; });
    if (row != kRooms.end()) return row - kRooms.begin();
  }
  return kRooms.size();
}

/// Paths from the root of the sources, and texts.
using Tree = std::map<std::string, std::string>;

struct Include {
  int line;
  std::string text, path;
  bool quoted;

  std::string top() const { return path.substr(0, path.find('/')); }
  bool is_ours() const { return quoted || contains({"kernels", "models", "engine", "tools", "tests"}, top()); }
  bool is_torch() const { return contains({"torch", "ATen", "c10", "caffe2"}, top()); }
};

std::vector<Include> includes_of(const std::string& text) {
  static const std::regex form(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> includes;
  std::istringstream in(text);
  std::smatch match;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find('#') != std::string::npos && std::regex_search(line, match, form))
      includes.push_back({number, match[0], match[2], match[1] == "\""});
  }
  return includes;
}

std::string message(const std::string& file, const Include& include, const std::string& rule,
                    const std::string& remedy) {
  return file + ":" + std::to_string(include.line) + ": " + include.text + "\n  rule: " + rule +
         "\n  what to do: " + remedy + "\n  " + kWhereTheTableIs;
}

/// What is wrong with one include of `file`, a file of row `from`; empty where it is allowed.
std::string wrong_include(const std::string& file, size_t from, const Include& include) {
  if (include.is_torch() || !include.is_ours()) return "";
  if (row_of(include.path) == kRooms.size())
    return message(file, include, "the path begins at the root and names a room of the table; tests are not one",
                   "write the whole path, or give a new folder its row in the table");
  const std::string extension = std::filesystem::path(include.path).extension();
  const std::string own = std::filesystem::path(file).extension();
  if (extension == ".cpp" || extension == ".cu")
    return message(file, include, "sources are compiled, not included", "move what is shared into a header");
  if (extension == ".cuh" && own != ".cu" && own != ".cuh")
    return message(file, include, "a .cuh is device code: only .cu and .cuh include it",
                   "declare the launcher in the folder's launch.h and include that");
  const size_t to = row_of(include.path);
  if (to == from || contains(words(kRooms[from].may), kRooms[to].path)) return "";
  const std::string may = kRooms[from].may.empty() ? "no other room" : kRooms[from].may;
  return message(
      file, include, kRooms[from].path + " may not include " + kRooms[to].path + "; it may include: " + may,
      "move what is needed down into a room that both may include, or let the caller pass it as an argument");
}

/// The first way from `start` to a torch header; empty where there is none. Each include is named once: `named`.
std::string torch_include(const Tree& tree, const std::string& start, const std::string& why,
                          std::set<std::string>& named) {
  std::map<std::string, std::string> way = {{start, start}};
  std::deque<std::string> next = {start};
  while (!next.empty()) {
    const std::string file = next.front();
    next.pop_front();
    for (const Include& include : includes_of(tree.at(file))) {
      if (include.is_torch() && named.insert(file + ":" + std::to_string(include.line)).second)
        return message(file, include, start + " sees no torch header (" + why + "); it came by " + way[file],
                       "put what needs tensors into a *_cuda.cpp or into a header of its own");
      if (tree.contains(include.path) && !way.contains(include.path)) {
        way[include.path] = way[file] + " -> " + include.path;
        next.push_back(include.path);
      }
    }
  }
  return "";
}

/// One text for each include that breaks a rule, and for each file without a room.
std::vector<std::string> violations(const Tree& tree) {
  std::vector<std::string> found;
  std::set<std::string> named;
  for (const auto& [file, text] : tree) {
    const size_t room = row_of(file);
    if (room == kRooms.size()) {
      found.push_back(
          file +
          ":1: no room\n  rule: every folder is a row of the table\n  what to do: move the file, or add a row for " +
          std::filesystem::path(file).parent_path().string() + "\n  " + kWhereTheTableIs);
      continue;
    }
    for (const Include& include : includes_of(text))
      if (std::string wrong = wrong_include(file, room, include); !wrong.empty()) found.push_back(wrong);
    for (const TorchFree& rule : kTorchFree)
      if (file.starts_with(rule.beginning) && file.ends_with(rule.end))
        if (std::string wrong = torch_include(tree, file, rule.why, named); !wrong.empty()) found.push_back(wrong);
  }
  return found;
}

const Tree& sources() {
  static const Tree tree = [] {
    const std::vector<std::string> kinds = {".h", ".cpp", ".cu", ".cuh", ".inc"};
    const std::filesystem::path root = WAN_SOURCE_DIR;
    Tree read;
    for (const char* top : {"kernels", "models", "engine", "tools"}) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
        if (!entry.is_regular_file() || !contains(kinds, entry.path().extension())) continue;
        std::ifstream in(entry.path());
        read[entry.path().lexically_relative(root)] = {std::istreambuf_iterator<char>(in), {}};
      }
    }
    return read;
  }();
  return tree;
}

/// A header of a room, for trees that are made up.
std::string header_of(const Room& room) {
  return room.path.ends_with(".cpp") ? room.path : room.path + (room.path == "models/layers" ? ".h" : "/made_up.h");
}

/// What is said of a tree of one file with one include in its third line.
std::vector<std::string> violations_of(const std::string& file, const std::string& include) {
  return violations({{file, "// A file.\n\n#include " + include + "\n"}});
}

}  // namespace

TEST(Rooms, IncludeWhatTheTableAllows) {
  EXPECT_GT(sources().size(), 300u);
  for (const std::string& wrong : violations(sources())) ADD_FAILURE() << wrong;
}

// A row without files guards nothing, and an exception that is not used any more goes.
TEST(Rooms, TheTableIsOfThisTree) {
  std::set<size_t> inhabited;
  std::set<std::pair<size_t, size_t>> used;
  for (const auto& [file, text] : sources()) {
    inhabited.insert(row_of(file));
    for (const Include& include : includes_of(text)) used.insert({row_of(file), row_of(include.path)});
  }
  for (size_t row = 0; row < kRooms.size(); ++row) {
    EXPECT_TRUE(inhabited.contains(row)) << "no file is in " << kRooms[row].path << ": take its row out of the table";
    bool exception = false;
    for (const std::string& name : words(kRooms[row].may)) {
      const size_t other =
          std::find_if(kRooms.begin(), kRooms.end(), [&](const Room& room) { return room.path == name; }) -
          kRooms.begin();
      ASSERT_LT(other, kRooms.size()) << kRooms[row].path << " may include " << name << ", which is no row";
      if (other < row) continue;
      exception = true;
      EXPECT_FALSE(kRooms[row].why.empty())
          << kRooms[row].path << " includes upwards, from " << name << ", without a reason";
      EXPECT_TRUE(used.contains({row, other}))
          << kRooms[row].path << " includes nothing from " << name << " any more: take it out of the row";
    }
    EXPECT_TRUE(exception || kRooms[row].why.empty()) << kRooms[row].path << " has a reason but no include upwards";
  }
}

// The test of the test: one wrong include of each kind must be seen, with file, line, include and rule.
TEST(Rooms, SeesEachKindOfWrongInclude) {
  const struct {
    const char *file, *include, *rule;
  } cases[] = {
      // upwards, from room to room
      {"kernels/op/check.h", "\"models/files/error.h\"", "kernels/op may not include models/files"},
      {"models/vae/vae.cpp", "\"engine/base/log.h\"", "models/vae may not include engine/base"},
      {"engine/job/job.cpp", "\"tools/cli/console.h\"", "engine/job may not include tools/cli"},
      {"engine/job/job.cpp", "<tools/cli/console.h>", "engine/job may not include tools/cli"},
      // upwards within a room
      {"kernels/op/check.cpp", "\"kernels/linear/hadamard.h\"", "kernels/op may not include kernels/linear"},
      {"kernels/op/check.cpp", "\"kernels/attention/selector.h\"", "kernels/op may not include kernels/attention"},
      {"kernels/simt/mma.h", "\"kernels/norm/norm.h\"", "kernels/simt may not include kernels/norm"},
      {"models/files/digest.cpp", "\"models/weights/dtype.h\"", "models/files may not include models/weights/dtype"},
      {"models/weights/format/pth.cpp", "\"models/weights/scope.h\"", "format may not include models/weights;"},
      {"models/weights/place.cpp", "\"models/layers.h\"", "models/weights may not include models/layers"},
      {"models/layers.cpp", "\"models/wan/model.h\"", "models/layers may not include models/wan"},
      {"engine/base/log.h", "\"engine/request/request.h\"", "engine/base may not include engine/request"},
      {"engine/request/parse.cpp", "\"engine/media/png.h\"", "engine/request may not include engine/media"},
      {"engine/request/parse.cpp", "\"engine/residency/device.h\"", "engine/request may not include engine/residency"},
      {"engine/residency/needs.cpp", "\"engine/sampling/solver.h\"", "residency may not include engine/sampling"},
      {"engine/media/png.cpp", "\"engine/frames/stream.h\"", "engine/media may not include engine/frames"},
      {"engine/sampling/denoise.cpp", "\"engine/speech/clock.h\"", "engine/sampling may not include engine/speech"},
      {"engine/speech/chain.cpp", "\"engine/job/record.h\"", "engine/speech may not include engine/job"},
      // sideways
      {"kernels/rope/rope.cpp", "\"kernels/attention/attention.h\"", "kernels/rope may not include kernels/attention"},
      {"kernels/step/launch.h", "\"kernels/norm/launch.h\"", "kernels/step may not include kernels/norm"},
      {"models/wan/model.cpp", "\"models/wan_s2v/model.h\"", "models/wan may not include models/wan_s2v"},
      {"models/umt5/encoder.cpp", "\"models/text/tokenizer/tokenizer.h\"", "models/umt5 may not include models/text"},
      {"models/vae/vae.cpp", "\"models/wan/config.h\"", "models/vae may not include models/wan"},
      {"models/text/clean/clean.cpp", "\"models/text/tokenizer/unigram.h\"", "clean may not include models/text/token"},
      {"engine/media/png.cpp", "\"engine/residency/device.h\"", "engine/media may not include engine/residency"},
      {"engine/residency/device.cpp", "\"engine/media/png.h\"", "engine/residency may not include engine/media"},
      {"engine/sampling/noise.cpp", "\"engine/frames/decode.h\"", "engine/sampling may not include engine/frames"},
      {"engine/frames/decode.cpp", "\"engine/sampling/noise.h\"", "engine/frames may not include engine/sampling"},
      {"tools/cli/console.cpp", "\"tools/bench/report.h\"", "tools/cli may not include tools/bench"},
      // past the front door
      {"kernels/norm/norm.cuh", "\"kernels/simt/emulator/host.h\"", "norm may not include kernels/simt/emulator"},
      {"models/layers.cpp", "\"kernels/simt/simt.h\"", "models/layers may not include kernels/simt"},
      {"engine/base/text.cpp", "\"kernels/op/context.h\"", "engine/base may not include kernels/op"},
      {"tools/bench/ops.cpp", "\"engine/request/request.h\"", "tools/bench may not include engine/request"},
      // device code, sources, paths
      {"kernels/norm/norm_cuda.cpp", "\"kernels/norm/norm.cuh\"", "only .cu and .cuh include it"},
      {"kernels/norm/norm.h", "\"kernels/norm/norm.cuh\"", "only .cu and .cuh include it"},
      {"engine/job/job.cpp", "\"engine/job/record.cpp\"", "sources are compiled"},
      {"kernels/norm/norm.cu", "\"kernels/norm/norm_int8.cu\"", "sources are compiled"},
      {"engine/job/job.cpp", "\"record.h\"", "begins at the root"},
      {"engine/job/job.cpp", "\"../base/log.h\"", "begins at the root"},
      {"engine/job/job.cpp", "\"engine/attic/log.h\"", "begins at the root"},
      {"engine/job/job.cpp", "\"tests/support.h\"", "tests are not one"},
      // torch where it may not be
      {"kernels/norm/norm.cuh", "<ATen/core/Tensor.h>", "sees no torch header"},
      {"kernels/norm/norm.cu", "<torch/torch.h>", "sees no torch header"},
      {"tools/bench/ceiling_kernels.cu", "<c10/util/Exception.h>", "sees no torch header"},
      {"models/files/error.h", "<c10/util/Exception.h>", "sees no torch header"},
      {"engine/base/error.cpp", "<c10/util/Exception.h>", "sees no torch header"},
      {"engine/request/request.h", "\"ATen/core/Tensor.h\"", "sees no torch header"},
      {"tools/cli/help.cpp", "<ATen/ATen.h>", "sees no torch header"},
      {"tools/wan_infer.cpp", "<ATen/ATen.h>", "sees no torch header"},
  };
  for (const auto& wrong : cases) {
    SCOPED_TRACE(std::string(wrong.file) + " includes " + wrong.include);
    const std::vector<std::string> found = violations_of(wrong.file, wrong.include);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_TRUE(found[0].starts_with(std::string(wrong.file) + ":3: #include " + wrong.include)) << found[0];
    EXPECT_NE(found[0].find(wrong.rule), std::string::npos) << found[0];
    EXPECT_NE(found[0].find("what to do: "), std::string::npos) << found[0];
  }
}

TEST(Rooms, SeesTorchThroughOtherHeaders) {
  const Tree tree = {{"kernels/norm/norm.cu", "#include \"kernels/norm/norm.cuh\"\n"},
                     {"kernels/norm/norm.cuh", "#include \"kernels/norm/launch.h\"\n"},
                     {"kernels/norm/launch.h", "#pragma once\n# include <ATen/core/Tensor.h>\n"},
                     {"kernels/norm/norm.h", "#include <ATen/core/Tensor.h>\n"},
                     {"kernels/norm/norm_cuda.cpp", "#include \"kernels/norm/launch.h\"\n"}};
  const std::vector<std::string> found = violations(tree);
  ASSERT_EQ(found.size(), 1u);  // once, though both device files reach it
  EXPECT_TRUE(found[0].starts_with("kernels/norm/launch.h:2: # include <ATen/core/Tensor.h>")) << found[0];
  EXPECT_NE(found[0].find("kernels/norm/norm.cu -> kernels/norm/norm.cuh -> kernels/norm/launch.h"), std::string::npos)
      << found[0];
}

TEST(Rooms, SeesFilesWithoutARoom) {
  for (const char* file :
       {"kernels/check.h", "models/weights/other/other.cpp", "engine/util/text.h", "tools/gpu/check.cpp"}) {
    const std::vector<std::string> found = violations({{file, ""}});
    ASSERT_EQ(found.size(), 1u) << file;
    EXPECT_TRUE(found[0].starts_with(std::string(file) + ":1: no room")) << found[0];
  }
}

// Every pair of rooms: what the table names passes, and nothing else does.
TEST(Rooms, HoldForEveryPair) {
  int allowed = 0, forbidden = 0;
  for (const Room& from : kRooms) {
    for (const Room& to : kRooms) {
      if (to.path.ends_with(".cpp") || to.path.starts_with("models/weights/dtype") ||
          to.path.starts_with("models/weights/stored_tensor") || to.path == "engine/job/work_folder")
        continue;  // single files: below
      const bool right = &from == &to || contains(words(from.may), to.path);
      (right ? allowed : forbidden) += 1;
      EXPECT_EQ(violations_of(header_of(from), "\"" + header_of(to) + "\"").size(), right ? 0u : 1u)
          << from.path << " and " << to.path;
    }
  }
  EXPECT_GT(allowed, 200);
  EXPECT_GT(forbidden, 400);
}

TEST(Rooms, LetRightIncludesPass) {
  const std::pair<const char*, const char*> cases[] = {
      {"kernels/norm/norm.h", "<ATen/core/Tensor.h>"},
      {"kernels/norm/norm.cu", "\"kernels/norm/norm.cuh\""},
      {"kernels/op/context.cpp", "\"kernels/attention/selector.h\""},
      {"models/weights/format/pth.cpp", "\"models/weights/stored_tensor.h\""},
      {"models/wan_s2v/model.h", "\"models/wan/model.h\""},
      {"engine/request/parse.cpp", "<nlohmann/json.hpp>"},
      {"engine/job/job.cpp", "<vector>"},
      {"tools/wan_engine.cpp", "\"tools/cli/console.h\""},
  };
  for (const auto& [file, include] : cases) EXPECT_TRUE(violations_of(file, include).empty()) << file << ' ' << include;
}
