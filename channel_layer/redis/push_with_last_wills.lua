-- Push frames onto one queue, each together with what it does to the last will for a channel; see last_wills.py.
--
-- ARGV, from the eighth on, per item: its frame, empty if there is only a last will; the process that the last will is
-- for, empty if there is only a frame; the local part; the last will, empty to withdraw it, "?" to drop the frame
-- unless there is one to withdraw.
--
-- Returns false if everything was stored, else a list with the number of items refused, which are the last ones.
-- A frame that withdraws a last will is dropped if that was carried out: its like lies on the queue already.

local all_statistics = KEYS[1]  -- hash, of the whole layer
local queue = KEYS[2]           -- list, of a reader, as in push.lua
local statistics = KEYS[3]      -- hash, of that reader
local processes = KEYS[4]       -- zset, those that have left last wills → when to see whether they are alive
-- The other keys are those that are built here. They are named so that a cluster's node runs this when it has all of
-- them, and else has the client wait, while their slot is on its way.
local lifetime = ARGV[1]        -- milliseconds a message lives
local statistics_ms = ARGV[2]   -- lifetime of a reader's statistics, see account
local capacity = ARGV[3]        -- of the queue
local last_wills = ARGV[4]      -- prefix of a process's last wills (hash): local part → last will
local carried_out = ARGV[5]     -- prefix of the local parts whose last wills were carried out (set)
local presence_ms = ARGV[6]     -- for so long a process counts as alive that leaves its first last will
local kept_ms = ARGV[7]         -- for so long last wills are kept
local FIRST_ITEM, VALUES_PER_ITEM = 8, 4

local stamp = stamp_of(lifetime)
local most = (#ARGV - FIRST_ITEM + 1) / VALUES_PER_ITEM
local room = most - math.min(most, make_room(queue, redis.call('LLEN', queue) + most - capacity))
local frames, leaving, refused = {}, {}, 0
for at = FIRST_ITEM, #ARGV, VALUES_PER_ITEM do
    local frame, process, member, last_will = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if frame ~= '' and #frames == room then
        refused = (#ARGV - at + 1) / VALUES_PER_ITEM
        break
    end
    if process == '' then
        frames[#frames + 1] = stamp .. frame
    elseif last_will == '?' then
        if redis.call('HDEL', last_wills .. process, member) == 1 then
            frames[#frames + 1] = stamp .. frame
        end
    elseif last_will ~= '' then
        leaving[process] = true
        redis.call('HSET', last_wills .. process, member, last_will)
        if frame ~= '' then
            frames[#frames + 1] = stamp .. frame
        end
    elseif redis.call('HDEL', last_wills .. process, member) == 1
        -- It may be missing because the data was lost; then nobody has carried it out.
        or redis.call('SISMEMBER', carried_out .. process, member) == 0 then
        if frame ~= '' then
            frames[#frames + 1] = stamp .. frame
        end
    end
end
for process in pairs(leaving) do
    redis.call('PEXPIRE', last_wills .. process, kept_ms)
    redis.call('ZADD', processes, 'NX', ms + presence_ms, process)
end

local sent = #frames
if sent > 0 then
    local length
    for first = 1, sent, 1000 do
        length = redis.call('RPUSH', queue, unpack(frames, first, math.min(sent, first + 999)))
    end
    keep(queue, length == sent, lifetime)
end
account(all_statistics, sent, refused)
account(statistics, sent, refused, statistics_ms)
return refused > 0 and { refused }
