#include "tools/confcheck/verdict.h"

#include <utility>

#include "confparse/render.h"
#include "engine/process/dry_check.h"
#include "engine/process/settings.h"
#include "modules/all.h"

using namespace weir;

Verdict judge(conf::World& world, const process::CommandLine& command_line) {
  const process::Locations locations = process::Locations::of(command_line);
  Verdict verdict;
  verdict.conf_file = locations.conf_file;
  verdict.compiled = process::compile_generation(world, all_modules(), locations, 1);
  if (verdict.compiled.ok) {
    verdict.files_problem =
        process::check_files(world, verdict.compiled.generation->root->get<process::CoreSettings>(),
                             verdict.compiled.generation->resources);
    if (!verdict.files_problem.empty()) {
      verdict.files_explained =
          process::explain_file_problem(world, locations, verdict.files_problem);
    }
  }
  return verdict;
}

std::string text_of(const Verdict& verdict, bool quiet) {
  const process::CompiledGeneration& compiled = verdict.compiled;
  const std::string syntax_ok =
      quiet ? "" : "nginx: the configuration file " + verdict.conf_file + " syntax is ok\n";
  std::string text;
  bool told = false;
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    if (diagnostic.number > compiled.end_number && !std::exchange(told, true)) text += syntax_ok;
    text += "nginx: [" + std::string(conf::severity_name(diagnostic.severity)) + "] " +
            process::diagnostic_text(compiled, diagnostic) + "\n";
    if (diagnostic.severity <= conf::Severity::crit) break;
  }
  if (compiled.ok && !told) text += syntax_ok;
  if (!verdict.files_problem.empty()) text += "nginx: [emerg] " + verdict.files_problem + "\n";
  if (!verdict.good()) {
    text += "nginx: configuration file " + verdict.conf_file + " test failed\n";
    text += compiled.ok ? verdict.files_explained : process::explained_text(compiled);
  } else if (!quiet) {
    text += "nginx: configuration file " + verdict.conf_file + " test is successful\n";
  }
  return text;
}
