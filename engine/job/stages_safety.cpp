// What stages do about safety checks: inputs before anything is computed, refusals that later runs remember.
#include <filesystem>
#include <utility>

#include "engine/job/latents.h"
#include "engine/job/stages.h"

namespace wan {

namespace fs = std::filesystem;
using nlohmann::json;

FrameChain Stages::chain(const Job& job) {
  FrameChain chain = chain_of(job.request, job.interpolator->part, job.placement);
  chain.safety = output_safety(job.request, job.safety, job.record.safety);
  chain.safety.named_after = job.request.out;
  return chain;
}

/// Before anything is computed of them. Of a job whose latents are there the inputs may have gone: what was said of them then
/// stands, where the same checker looked at all of them.
SafetyRecord Stages::look_at_inputs(const Job& job, const InputFiles& files, bool rendered, Notes& notes) {
  if (job.result.line > 0) note_idle_safety(job.request, notes);
  if (!job.request.enable_safety_checker) return {};
  const auto look = [&](const InputFiles& all) {
    return input_safety_.look(job.request, all, job.record.inputs, *job.safety, notes, progress_, job.label);
  };
  if (!rendered) return look(files);
  const Record made = load_latents(files_.latents(job)).record;
  // What a checker said that this run does not name is not said of it.
  SafetyRecord before = job.safety->is_there() ? made.safety : SafetyRecord();
  if (!knows_inputs(before, job.request, *job.safety))
    return look(input_files(job.request, folder_.path(), progress_, job.label));
  for (const char* words : {"prompt", kExpandedField}) before.inputs.erase(words);
  before.action = job.request.safety_action;
  input_safety_.look_at_texts(job.request, made.expanded_prompt, before);
  for (const auto& [field, finding] : before.inputs)
    if (finding.flagged && field != "prompt" && field != kExpandedField && job.request.safety_action == "refuse")
      throw SafetyRefusal(field,
                          "must not show what the safety checker flags: " + safety_text(finding, before.threshold),
                          "--no-enable-safety-checker or --safety-action flag goes on", before);
  return before;
}

/// Throws the refusal of a job's video again, as long as the refused file is there, or was removed because it was to be: the
/// same frames would be refused again.
void Stages::refuse_again(Job& job, const json& note) const {
  const auto refused = note.find(kRefused);
  if (refused == note.end() || refused->at("out") != place_of(job.request.out)) return;
  const std::string kept = refused->at("kept");
  if (!kept.empty() && !fs::exists(folder_.path() / kept)) return;
  job.prepared = true;           // of its files those are there that the note names,
  job.withdrawn = kept.empty();  // and of a video that was to go none is to be
  job.result.safety = read_safety(refused->at(kSafetySaid));
  throw SafetyRefusal("out", refused->at("wrong"), refused->at("way"), job.result.safety,
                      kept.empty() ? "" : (folder_.path() / kept).lexically_normal().string());
}

/// The end of a job, by which its file appears. One that is refused is noted: it is not rendered again. What it was made of
/// stays for another action or threshold, and goes where the video is to go.
void Stages::end_with(Job& job, const std::function<void()>& work) {
  try {
    work();
  } catch (const SafetyRefusal& refusal) {
    job.result.safety = refusal.record;
    std::error_code ignored;
    if (!job.output.preview.empty()) fs::remove(job.output.preview, ignored);
    folder_.note(job.key, {{kRefused,
                            {{"out", place_of(job.request.out)},
                             {"kept", refusal.kept.empty() ? "" : place_of(refusal.kept)},
                             {"wrong", refusal.wrong},
                             {"way", refusal.way},
                             {kSafetySaid, to_json(refusal.record)}}},
                           {"files", job.files}});
    if (job.request.discard) files_.drop(job);
    throw;
  }
  if (job.request.safety_action != "blur" || !job.result.safety.flagged() || job.output.preview.empty()) return;
  std::error_code ignored;
  fs::remove(job.output.preview, ignored);
}

}  // namespace wan
