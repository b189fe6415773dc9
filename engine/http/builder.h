#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "engine/generation.h"
#include "engine/http/graph.h"

namespace weir::http {

// The order of problems that nginx finds at the closing brace of http: modules' finish()
// (Compiler::kFinishStage), locations, modules' complete() (kCompleteStage), variables, server
// names.
enum Stage : uint32_t {
  kStageLocations = 50'000,
  kStageVariables = 200'000,
  kStageNames = 300'000
};

// The http subsystem while it is compiled: modules reach it with builder(compiler). The graph goes
// to the generation at the closing brace of http.
class Builder final : public conf::CompilerState {
 public:
  Graph& graph() {
    if (!graph_) graph_ = std::make_unique<Graph>();
    return *graph_;
  }
  // Null when the configuration has no http block.
  std::unique_ptr<Graph> take_graph() { return std::move(graph_); }

  // --- for modules' prepare() and complete() ---
  void add_phase_handler(Phase phase, PhaseHandler handler);
  // Filters run in the order of registration (modules/all.cc says which).
  void add_head_filter(HeadFilter filter);

  // --- for setters ---
  uint32_t close_number = 0;                // reading number of http's closing brace
  VirtualServer* current_server = nullptr;  // whose block is being visited
  // Where each server stands, for messages.
  std::unordered_map<const VirtualServer*, const conf::Statement*> server_statements;
  Location* current_location = nullptr;  // null directly in a server
  // Where proxy_pass and its like put their handler: the location's, or that of the `if` or
  // limit_except that is being visited. Null where no handler may be set.
  PhaseHandler* content_handler = nullptr;

 private:
  std::unique_ptr<Graph> graph_;
};

// Is this statement a directive's default, not one of the configuration's own?
bool is_default_statement(conf::Compiler& compiler, const conf::Statement& statement);

inline Builder& builder(conf::Compiler& compiler) {
  return compiler.state<Builder>();
}

// Resources wanted by the configuration under construction (log files, temp folders, listeners).
class ResourceList final : public conf::CompilerState {
 public:
  Resources resources;
  void want_log_file(const std::string& full_path);
  void want_temp_folder(const std::string& full_path);
};

}  // namespace weir::http
