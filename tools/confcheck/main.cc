#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "confparse/print.h"
#include "confparse/render.h"
#include "confparse/worlds.h"
#include "engine/process/build_info.h"
#include "engine/process/command_line.h"
#include "engine/process/process_log.h"
#include "tools/confcheck/verdict.h"

namespace {

using namespace weir;
using weir::process::print_error;

struct Options {
  bool dump = false;
  bool quiet = false;
  bool json = false;
  bool resolve = false;
  process::CommandLine command_line;
};

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int check(const Options& options) {
  conf::DryWorld world(options.resolve);
  const Verdict verdict = judge(world, options.command_line);
  if (options.json) {
    print(conf::render_json(verdict.compiled.diagnostics, *verdict.compiled.sources) + "\n");
    if (!verdict.files_problem.empty())
      print_error("nginx: [emerg] " + verdict.files_problem + "\n");
  } else {
    print_error(text_of(verdict, options.quiet));
  }
  if (verdict.good() && options.dump) print(conf::print_dump(*verdict.compiled.sources));
  return verdict.good() ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  bool test = true;
  CLI::App app("Judges an nginx configuration without touching anything outside.", "confcheck");
  app.set_version_flag("-v,--version", "confcheck " WEIR_VERSION " (" + process::product() + ")");
  app.add_flag("-t", test, "test the configuration (what it does anyway)");
  app.add_flag("-T", options.dump, "print every file of a good configuration");
  app.add_option("-c", options.command_line.conf_file, "the configuration file")->type_name("FILE");
  app.add_option("-p", options.command_line.prefix, "the prefix of relative paths")
      ->type_name("PATH");
  app.add_option("-g", options.command_line.global_directives,
                 "directives outside of the configuration file")
      ->type_name("DIRECTIVES");
  app.add_flag("-q", options.quiet, "no words about a good configuration");
  app.add_flag("--json", options.json, "problems as JSON on standard output");
  app.add_flag("--resolve", options.resolve, "look names up (without it every name resolves)");
  CLI11_PARSE(app, count, words);
  return check(options);
}
