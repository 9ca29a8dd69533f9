#include "tools/bench/adopt.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "models/files/json.h"
#include "tools/bench/child.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSection = "measured on a GPU";

std::string read_text(const fs::path& file) {
  std::ifstream in(file);
  if (!in) throw std::invalid_argument("[" + file.string() + "] cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string seconds(double milliseconds) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g s", milliseconds / 1000);
  return buffer;
}

/// Letters and digits with dashes between: "nvidia-h200".
std::string folder_name(const std::string& gpu) {
  std::string name;
  for (const char c : gpu) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      name += char(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name;
}

/// The fastest row of another engine on the same thing: of any report.
const Row* library_for(const Findings& findings, const Row& row) {
  const Row* found = nullptr;
  for (const auto& [file, report] : findings.reports)
    for (const Row& other : report.rows)
      if (!other.ours && !other.is_published() && other.name == row.name && other.shape == row.shape &&
          (!found || other.median() < found->median()))
        found = &other;
  return found;
}

std::string environment_of(const Report& report, const char* key) {
  const auto found = report.environment.find(key);
  return found == report.environment.end() ? "" : found->second;
}

std::string line_of(const Report& report, const Row& row, const std::string& what, const Row* other,
                    const std::string& other_text) {
  char ratio[32] = "";
  if (other) std::snprintf(ratio, sizeof ratio, "%.2f", other->median() / row.median());
  return "| " + environment_of(report, "gpu") + " | " + what + " | " + seconds(row.median()) + " | " + other_text +
         " | " + ratio + " | " + report.commit + " |\n";
}

std::string headline_row(const Findings& findings, const Report& report, const Row& row) {
  const Row* library = library_for(findings, row);
  return line_of(report, row, row.name + ", " + row.shape, library,
                 library ? library->backend + " " + seconds(library->median()) : "not measured");
}

/// "H200" of "NVIDIA H200".
std::string card_of(const std::string& gpu) {
  const std::string maker = "NVIDIA ";
  const std::string name = gpu.starts_with(maker) ? gpu.substr(maker.size()) : gpu;
  return name.substr(0, name.find(' '));
}

/// Of the published videos of a report those of this card that took the fewest GPU seconds; null: there are none.
const Row* published_for(const Report& report, const std::string& card) {
  const Row* found = nullptr;
  for (const Row& row : report.rows) {
    std::string words = row.backend + " ";
    std::replace(words.begin(), words.end(), ',', ' ');
    const bool is_of_card = !card.empty() && words.find(" " + card + " ") != std::string::npos;
    if (row.is_published() && row.name == "video" && is_of_card && (!found || row.median() < found->median()))
      found = &row;
  }
  return found;
}

/// GPU seconds of a benchmark's video on drawn or real weights. What others published is named as that.
std::string video_row(const Report& report, const Row& row) {
  const std::string card = card_of(environment_of(report, "gpu"));
  const Row* other = published_for(report, card);
  const std::string text = other ? "published, not measured here: " + other->backend + ", " + seconds(other->median()) +
                                       " (" + other->published + ")"
                                 : "none published for this card";
  return line_of(
      report, row,
      "one MLPerf video, " + row.shape + ", " + row.backend + ", weights: " + environment_of(report, "weights"), other,
      text);
}

/// What tar says of an archive. Throws std::invalid_argument where it cannot read it.
std::string tar(const char* task, const fs::path& archive, const std::vector<std::string>& members = {}) {
  std::vector<std::string> command = {"tar", task, archive.string()};
  command.insert(command.end(), members.begin(), members.end());
  const ChildResult result = run_child(command, /*quiet=*/true);
  if (result.status != 0)
    throw std::invalid_argument("[" + archive.string() + "] must be what tools/gpu_check.sh packed, and tar cannot " +
                                "read it; where it is moved away, what lies beside it is read alone");
  return result.out;
}

/// Adds the results that the script's archive alone holds.
void add_packed(const fs::path& archive, std::map<std::string, Report>& reports) {
  std::istringstream members(tar("-tzf", archive));
  for (std::string member; std::getline(members, member);) {
    if (!member.starts_with("./")) continue;  // not the script's; one that begins with - would be an option
    const fs::path file = fs::path(member).filename();
    if (file.extension() != ".json" || file == "plan.json" || reports.count(file.string())) continue;
    reports[file.string()] = parse_report(tar("-xzOf", archive, {member}), archive.string() + ", " + file.string());
  }
}

/// Without the reports that are not fit to be published; `out` says why.
Findings fit_of(Findings findings, std::ostream& out) {
  std::erase_if(findings.reports, [&](const auto& one) {
    const std::vector<std::string> wrong = complaints(one.second);
    for (const std::string& complaint : wrong) out << "left out: " << one.first << ": " << complaint << "\n";
    return !wrong.empty();
  });
  return findings;
}

/// Copies the reports; their paths.
std::vector<fs::path> publish(const Findings& findings, const fs::path& root) {
  std::vector<fs::path> written;
  for (const auto& [file, report] : findings.reports) {
    const fs::path folder = root / "results" / folder_name(report.environment.at("gpu")) / findings.date;
    fs::create_directories(folder);
    write_file(folder / file, to_json(report).dump(1) + "\n");
    write_file(folder / fs::path(file).replace_extension(".svg"), roofline(report));
    written.push_back(folder / file);
  }
  return written;
}

}  // namespace

Findings read_findings(const fs::path& folder) {
  Findings findings;
  const fs::path plan = folder / "plan.json";
  try {
    const nlohmann::json content = parse_json(read_text(plan));
    content.at("date").get_to(findings.date);
    content.at("rehearsal").get_to(findings.rehearsal);
    for (const auto& part : content.at("parts")) findings.states[part.at("name")] = part.at("state");
  } catch (const nlohmann::json::exception&) {
    throw std::invalid_argument("[" + plan.string() + "] is no plan of tools/gpu_check.sh, or one of another version");
  } catch (const BrokenJson&) {
    throw std::invalid_argument("[" + plan.string() + "] is damaged; results.tar.gz beside it holds another copy");
  }
  if (findings.date.empty() || findings.date.find_first_not_of("0123456789-") != std::string::npos)
    throw std::invalid_argument("[" + plan.string() + "] must have a date like 2026-01-31, got '" + findings.date +
                                "'");
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json" && entry.path().filename() != "plan.json")
      findings.reports[entry.path().filename()] = read_report(entry.path());
  if (const fs::path archive = folder / "results.tar.gz"; fs::exists(archive)) add_packed(archive, findings.reports);
  return findings;
}

std::string headline(const Findings& findings) {
  std::string out = "| GPU | case | wan-infer | fastest other | times as fast | commit |\n|---|---|---|---|---|---|\n";
  for (const auto& [file, report] : findings.reports)
    for (const Row& row : report.rows) {
      if (row.ours && (row.suite == "step" || row.suite == "vae")) out += headline_row(findings, report, row);
      if (row.ours && row.suite == "mlperf" && row.name == "video") out += video_row(report, row);
    }
  return out;
}

std::string with_section(const std::string& text, const std::string& name, const std::string& content) {
  const std::string begin = "<!-- " + name + " -->\n", end = "<!-- end of " + name + " -->";
  const size_t from = text.find(begin), to = text.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from)
    throw std::invalid_argument("the README must have the lines " + begin.substr(0, begin.size() - 1) + " and " + end);
  return text.substr(0, from + begin.size()) + content + text.substr(to);
}

bool adopt(const Findings& findings, const fs::path& root, bool dry, std::ostream& out) {
  for (const auto& [part, state] : findings.states)
    if (state != "done" && state != "not needed") out << "part " << part << ": " << state << "\n";
  // A rehearsal plays the decisions, too; all of its reports are unfit.
  const Findings fit = findings.rehearsal ? findings : fit_of(findings, out);
  out << to_text(decide(fit)) << "\n" << headline(fit) << "\n";
  const bool invented = findings.rehearsal || std::any_of(findings.reports.begin(), findings.reports.end(),
                                                          [](const auto& one) { return is_stand_in(one.second); });
  if (invented || dry) {
    out << (invented ? "nothing is written: these are timings of a rehearsal\n" : "nothing is written: --dry-run\n");
    return dry && !invented;
  }
  const std::string readme = read_text(root / "README.md");
  with_section(readme, kSection, "");  // before anything is written
  const std::vector<fs::path> written = publish(fit, root);
  if (written.empty()) {
    out << "nothing is written: no result is fit to be published\n";
    return false;
  }
  std::string section = "\n" + headline(fit) + "\nMeasured on " + findings.date + "; files and rooflines:";
  for (const fs::path& path : written) {
    const std::string relative = fs::relative(path, root).generic_string();
    section += " [" + path.filename().string() + "](" + relative + ")";
    out << "written: " << relative << "\n";
  }
  write_file(root / "README.md", with_section(readme, kSection, section + "\n\n"));
  out << "written: the README's table\n";
  return true;
}

}  // namespace wan::bench
