# What all evaluators share: one JSON request a line on standard input, one JSON answer a line on standard output. An
# evaluator follows in the same program, gives Worker its `answer` to a request, and ends with `Worker.new.serve`.

require 'json'
require 'yaml'
require 'erb'
require 'base64'

# Templates may print; only answers go to the other side.
ANSWERS = STDOUT.dup
REQUESTS = STDIN.dup
STDOUT.reopen(File::NULL)
STDIN.reopen(File::NULL)

# Looking dotted names up in a nested hash.
module DottedNames
  private

  def lookup(hash, name)
    name.split('.').inject(hash) do |value, part|
      return nil if value.nil?
      value[part]
    end
  end

  # The values of all names, or nil when one is missing.
  def values_of(hash, names)
    values = names.map { |name| lookup(hash, name) }
    values.any?(&:nil?) ? nil : values
  end
end

# What follows a condition that did not hold: the next one decides.
module ElseDecides
  def initialize(context)
    @context = context
  end

  def else
    yield
  end

  def else_if_p(*names, &block)
    @context.if_p(*names, &block)
  end
end

# What follows a condition that held: nothing runs.
module ElseIsSkipped
  def else; end

  def else_if_p(*)
    self
  end
end

# One request after the other.
class Worker
  def serve
    while (line = REQUESTS.gets)
      reply = begin
        answer(JSON.parse(line, max_nesting: false))
      rescue Exception => e # rubocop:disable Lint/RescueException
        # The message may quote the request, which holds secrets.
        { failure: "#{e.class} in #{e.backtrace&.first}" }
      end
      ANSWERS.puts(JSON.generate(reply, max_nesting: 0))
      ANSWERS.flush
    end
  end

  private

  def compile(template)
    text = template['text'] || Base64.strict_decode64(template['base64']).force_encoding(Encoding::UTF_8)
    erb = ERB.new(text, trim_mode: '-')
    erb.filename = template['name']
    erb
  end

  def encode(text)
    text = text.dup.force_encoding(Encoding::UTF_8)
    text.valid_encoding? ? { text: text } : { base64: Base64.strict_encode64(text) }
  end
end

