-- Send to a group: one frame per reader, however many members it has.
--
-- Returns how many readers missed the message because their queue is full; with several servers and ordinary channels in
-- the group a list of that number, and each such channel with its ticket. Keys are built here, so that a process which died
-- is dropped by whoever sends next.

local readers = KEYS[1]         -- zset, of the group on this server → milliseconds of the clock when they expire
local all_statistics = KEYS[2]  -- hash, of the whole layer
local lifetime = ARGV[1]        -- milliseconds a message lives
local queues = ARGV[2]          -- prefix of a reader's queue (list)
local presences = ARGV[3]       -- prefix of a reader's presence (string: its capacity; gone when the process is)
local members = ARGV[4]         -- prefix of the members of this group in one process (zset)
local for_processes = ARGV[5]   -- frame
local for_channels = ARGV[6]    -- frame for ordinary channels
local tickets = ARGV[7]         -- prefix of this group's tickets (string), empty without encryption; a ticket goes
                                -- behind the frame for an ordinary channel
local several = tonumber(ARGV[8]) -- 1 if the queues of ordinary channels may lie on other servers

local stamp = stamp_of(lifetime)
local to_process = stamp .. for_processes
local found = redis.call('ZRANGE', readers, 0, -1, 'WITHSCORES')
local sent, full = 0, 0
local elsewhere = {}
for i = 1, #found, 2 do
    local reader, expires = found[i], tonumber(found[i + 1])
    local capacity = redis.call('GET', presences .. reader)
    if not capacity or expires <= ms then
        redis.call('ZREM', readers, reader)
        redis.call('DEL', members .. reader)
    elseif several == 1 and string.sub(reader, -1) ~= '!' then
        elsewhere[#elsewhere + 1] = reader
        elsewhere[#elsewhere + 1] = tickets ~= '' and redis.call('GET', tickets .. reader) or ''
    else
        local queue = queues .. reader
        if redis.call('LLEN', queue) >= tonumber(capacity) then
            full = full + 1
        else
            local frame = to_process
            if string.sub(reader, -1) ~= '!' then
                frame = stamp .. for_channels .. (tickets ~= '' and redis.call('GET', tickets .. reader) or '')
            end
            keep(queue, redis.call('RPUSH', queue, frame) == 1, lifetime)
            sent = sent + 1
        end
    end
end
account(all_statistics, sent, full)
if #elsewhere > 0 then
    table.insert(elsewhere, 1, full)
    return elsewhere
end
return full
