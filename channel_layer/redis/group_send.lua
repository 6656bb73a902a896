-- Send to a group: one frame per reader, however many members it has.
--
-- KEYS[1]   zset  readers of the group on this server → milliseconds of the clock when they expire
-- KEYS[2]   hash  statistics of the whole layer
-- ARGV[1]   milliseconds a message lives
-- ARGV[2]   prefix of a reader's queue (list)
-- ARGV[3]   prefix of a reader's presence (string: its capacity; gone when the process is)
-- ARGV[4]   prefix of the members of this group in one process (zset)
-- ARGV[5]   frame for processes
-- ARGV[6]   frame for ordinary channels
-- ARGV[7]   prefix of the tickets of this group (string), which go behind frames for ordinary channels;
--           empty without encryption
--
-- Returns how many readers missed the message because their queue is full. Keys are built here, so
-- that a process which died is dropped by whoever sends next.

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local stamp = struct.pack('>d', ms + ARGV[1])
local for_processes = stamp .. ARGV[5]
local readers = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local sent, full = 0, 0
for i = 1, #readers, 2 do
    local reader = readers[i]
    local capacity = redis.call('GET', ARGV[3] .. reader)
    if not capacity or tonumber(readers[i + 1]) <= ms then
        redis.call('ZREM', KEYS[1], reader)
        redis.call('DEL', ARGV[4] .. reader)
    else
        local queue = ARGV[2] .. reader
        if redis.call('LLEN', queue) >= tonumber(capacity) then
            full = full + 1
        else
            local frame = for_processes
            if string.sub(reader, -1) ~= '!' then
                frame = stamp .. ARGV[6] .. (ARGV[7] ~= '' and redis.call('GET', ARGV[7] .. reader) or '')
            end
            keep(queue, redis.call('RPUSH', queue, frame) == 1, ARGV[1] + 10000)
            sent = sent + 1
        end
    end
end
if sent > 0 then
    redis.call('HINCRBY', KEYS[2], 'sent', sent)
end
if full > 0 then
    redis.call('HINCRBY', KEYS[2], 'full', full)
end
return full
